module companyos-conform/probe

go 1.23.0
