import sys

print(sys.prefix, sys.argv[1:])
