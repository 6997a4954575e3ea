"""Other harnesses' tasks through peval's loop, store and report."""
