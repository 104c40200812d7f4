"""What a completion is: correct, in form, in which script."""
