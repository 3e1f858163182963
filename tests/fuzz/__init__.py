"""200 bad inputs: small projects with one mistake each, and what every command has to say about it.

An input is made from its number alone. :mod:`.kinds` holds the grammar: a module an area (the data file, folders, images, ...), and in
it one function a kind of mistake, which damages a project that works. :mod:`.running` runs the command and judges what it said.

    python tests/fuzz --all            all of them, each in a process of its own
    python tests/fuzz 17 42            two of them
    python tests/fuzz 17 --keep /tmp/x writes the input there, to look at it

``test_fuzz.py`` runs every fifth one in the test's process.
"""
