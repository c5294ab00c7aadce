module companyos-conform/pause

go 1.23.0
