"""The Python runtime of Warren: loads a Lambda handler and serves its calls over the sandbox protocol.

Everything here is imported before the function's folder comes first on `sys.path`, so that a file of the function
(`json.py`, `logging.py`) can never take the place of a module that the runtime needs. Only the standard library is used.
"""
