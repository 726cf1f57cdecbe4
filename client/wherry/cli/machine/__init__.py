"""`wherry machine`: one file per verb."""
