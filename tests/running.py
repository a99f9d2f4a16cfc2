"""Scripts run in the tests' own process."""


def in_process(capsys, main):
    """A function that runs a script with any words and returns (exit code, stdout, stderr)."""
    import helpers

    def call(*argv) -> tuple[int, str, str]:
        capsys.readouterr()
        code = helpers.run_script(main, [str(word) for word in argv])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call
