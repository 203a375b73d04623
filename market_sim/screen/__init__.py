"""What the command line shows a person.  No science here either."""
