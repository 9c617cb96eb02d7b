"""How fast figures are at the size of ten counties, and what keeping them costs."""
