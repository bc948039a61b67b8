"""From what a method feeds to the record of a step, and to the next state of the rows."""
