"""The command `grpo-lab`: its words (`__main__.py`), and what stands behind those that are no entry or folder of their own."""
