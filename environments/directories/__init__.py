"""The customer's side of a directory: an OpenLDAP server with people in it, and an OpenID provider before it.

Files and command lines; a driver runs them, as processes of a site or as containers.
"""

SUFFIX = "dc=customer,dc=example"
PEOPLE, GROUPS = f"ou=people,{SUFFIX}", f"ou=groups,{SUFFIX}"
MANAGER = f"cn=manager,{SUFFIX}"
READER = f"cn=companyos,{SUFFIX}"  # the account that the product searches with
LOCKED = "pwdAccountLockedTime"  # OpenLDAP's password policy: an account that has it is locked
FOREVER = "000001010000Z"
ROLES = {"companyos-admins": "admin", "companyos-analysts": "analyst", "companyos-viewers": "viewer"}
