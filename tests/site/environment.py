"""As a process: tells what its environment holds."""

import os

if __name__ == "__main__":
    print(dict(os.environ))
