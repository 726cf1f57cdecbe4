"""Loads an AppArmor profile into the kernel it runs on, as root: the guest has no compiler for one.

The test sends it to `python3 -` inside the machine. What is compiled here, by `apparmor_parser -Q -K -S -M
/etc/apparmor.d/abi/kernel-5.4-vanilla | xz -9 | base64`:

    profile wherry-test flags=(attach_disconnected,mediate_deleted) {
      file,
      capability,
      network,
      signal,
      deny /forbidden rwlkx,
    }
"""

import base64
import lzma
import os

COMPILED = """
/Td6WFoAAATm1rRGAgAhARwAAAAQz1jM4AswAVldAAICUTNuL4NoQzAv8fiEsgj0s8HSvtw6qmj5JsPo8wRFm50aV8Dch+SYfy/D
cC5lATN0hlw4EarIVssvVmTRPf8RUs0v2mlPANVSr2ZWqpm/jwwvlonA75MsWyQP0DfHf05RJB8fFFoOwMK+/EwYPTSbRK+RjlBW
iFSl8GPUtNuSW9Sinuep6fMWNK96hIcTCUeMrNAjyEQI3OMIgLh8h0zJTA6XZKaguBTd9Espfcrmim0LzKFTIXivf4inWTTHvlHj
hqrlCLyd5Ol2gpceX9cALv/po6y+uFylrhxqMs2KmyHnij5uK5NGKee78KW4/bIDkpH2j6YXl7Z0M7KEEjLboxCyPO4HE+mUu6oC
kt8YAkBHr5vNUnSWrTotUYF2zWJ3Qfv/zDsYjEcovaPA2Kq3h90Le+2wDS0Zi3BK+RPxOIWYSv0tILivfOBeozWTa0asDpTjelo8
AAAAAAAHsxJvee25qwAB9QKxFgAAKvmvQbHEZ/sCAAAAAARZWg==
"""


def main() -> None:
    """Replaces one that was loaded before."""
    fd = os.open("/sys/kernel/security/apparmor/.replace", os.O_WRONLY | os.O_CLOEXEC)
    # The kernel takes a profile in one write.
    os.write(fd, lzma.decompress(base64.b64decode(COMPILED)))
    os.close(fd)


if __name__ == "__main__":
    main()
