# Prints what terminals and logs would obey.
import json
import sys

request = json.load(open(sys.argv[1]))
print("RESULT " + json.dumps({"said": True}))
print(request["text"])
