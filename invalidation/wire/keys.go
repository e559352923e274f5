package wire

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// Where rows and reports stand in DynamoDB. Every table has the string keys pk and sk.
//
//	changes  pk LogPartition              sk RevisionKey  hash, detail: a Row's hash and body (S)
//	reports  pk ReportPartition           sk ReportSort   data: a Report as JSON (S), service (S), revision (N),
//	                                                      ttl: when DynamoDB may drop it (N, seconds since 1970)
const (
	LogPartition = "log"
	ReportSort   = "report"
)

// RevisionKey is a revision as a sort key: padded, so that DynamoDB's order of strings is the order of numbers.
func RevisionKey(revision int64) string { return fmt.Sprintf("%019d", revision) }

// ReportPartition is the partition key of an environment's report. It is a hash, so that many environments spread over
// the table's partitions whatever their ids look like.
func ReportPartition(environment string) string {
	sum := sha256.Sum256([]byte(environment))
	return hex.EncodeToString(sum[:])
}
