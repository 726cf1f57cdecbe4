"""The small languages of `run`'s options -> JSON of the Engine API. Pure, but for the files options name.

Every parser raises UsageProblem with Docker's wording where Docker has one.
"""
