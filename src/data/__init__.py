"""Problems: loaders, pools, mix, prompt."""
