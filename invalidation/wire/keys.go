package wire

import (
	"crypto/sha256"
	"fmt"
	"strconv"
)

// Where rows and reports stand in DynamoDB. Every table has the string keys pk and sk.
//
//	changes  pk LogPartition      sk RevisionKey  hash, detail: a Row's hash and body (S)
//	reports  pk ReportPartition   sk ReportKey    data: a Report as JSON (S), service (S), revision (N),
//	                                              ttl: when DynamoDB may drop it (N, seconds since 1970)
const (
	LogPartition = "log"
	// ReportPartitions is how many partitions the reports are spread over: enough that a thousand writes a second in each,
	// DynamoDB's limit, are far off, and few enough to look through all of them.
	ReportPartitions = 16
)

// NamePrefix is what the names of a domain's secrets begin with.
func NamePrefix(env, domain string) string { return "/bank/" + env + "/" + domain + "/" }

// RevisionKey is a revision as a sort key: padded, so that DynamoDB's order of strings is the order of numbers.
func RevisionKey(revision int64) string { return fmt.Sprintf("%019d", revision) }

// ReportPartition is the partition key of an environment's report: one of ReportPartitions, by a hash.
func ReportPartition(environment string) string {
	sum := sha256.Sum256([]byte(environment))
	return reportPartition(int(sum[0] % ReportPartitions))
}

// AllReportPartitions returns every partition key that a report may have.
func AllReportPartitions() []string {
	all := make([]string, ReportPartitions)
	for i := range all {
		all[i] = reportPartition(i)
	}
	return all
}

func reportPartition(i int) string { return "report#" + strconv.FormatInt(int64(i), 16) }

// ReportKey is the sort key of an environment's report: those of one service stand together, after ReportKey(service, "").
func ReportKey(service, environment string) string { return service + "#" + environment }
