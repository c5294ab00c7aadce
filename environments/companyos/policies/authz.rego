# The default policy of a release: who may do what. Deny is the default; the tenant is part of every grant.
package companyos.authz

import rego.v1

default allow := false

reads := {"entity.read", "relationship.read", "investigation.read", "run.read", "event.read", "me.read"}

writes := {
	"entity.create", "entity.update", "entity.delete",
	"relationship.create", "relationship.delete",
	"investigation.create", "investigation.update", "investigation.delete",
	"run.create", "run.abort",
	"inference.use",
}

administration := {"export.create", "directory.read", "directory.write", "billing.read"}

grants := {
	"viewer": reads,
	"analyst": reads | writes,
	"admin": (reads | writes) | administration,
	"operator": {"me.read"},
	"node": {"sync.write", "me.read"},
}

allow if {
	some role in input.subject.roles
	input.action in grants[role]
	input.resource.tenant == input.subject.tenant
}
