import oars

print(oars.COUNT)
