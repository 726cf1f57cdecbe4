"""The zygote's program: what is not to be imported is put aside before the rest is."""

from wherryd import later


def main() -> None:
    later.without_inspect()
    from wherryd.runtime import zygote

    zygote.main()


if __name__ == "__main__":
    main()
