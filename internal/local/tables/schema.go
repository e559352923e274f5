package tables

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

type attributeDefinition struct {
	AttributeName string
	AttributeType string
}

type keySchemaElement struct {
	AttributeName string
	KeyType       string
}

type createTableRequest struct {
	TableName            string
	AttributeDefinitions []attributeDefinition
	KeySchema            []keySchemaElement
	BillingMode          string
	// Taken and not used.
	ProvisionedThroughput, Tags, SSESpecification json.RawMessage
}

type tableRequest struct{ TableName string }

type updateTimeToLiveRequest struct {
	TableName               string
	TimeToLiveSpecification timeToLive
}

type timeToLive struct {
	AttributeName string
	Enabled       bool
}

type updateTimeToLiveAnswer struct {
	TimeToLiveSpecification timeToLive
}

type tableDescription struct {
	TableName             string
	TableArn              string
	TableStatus           string
	CreationDateTime      float64
	AttributeDefinitions  []attributeDefinition
	KeySchema             []keySchemaElement
	ItemCount             int
	TableSizeBytes        int
	BillingModeSummary    billingMode
	ProvisionedThroughput throughput
}

type billingMode struct{ BillingMode string }

type throughput struct{ ReadCapacityUnits, WriteCapacityUnits int }

type createTableAnswer struct{ TableDescription tableDescription }

type describeTableAnswer struct{ Table tableDescription }

func (t *Tables) createTable(in *createTableRequest) (createTableAnswer, error) {
	s, err := in.spec(t.now())
	if err != nil {
		return createTableAnswer{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return createTableAnswer{}, internalError(errClosed)
	case t.tables[s.Name] != nil:
		return createTableAnswer{}, dynamoError("ResourceInUseException", "Table already exists: "+s.Name)
	}
	if err := t.commit(entry{Create: &s}); err != nil {
		return createTableAnswer{}, err
	}
	return createTableAnswer{t.tables[s.Name].describe("ACTIVE")}, nil
}

// CreateTables creates tables as CreateTable does, each with on-demand capacity
// and the same two keys, which are strings. It stops at the first that cannot
// be created.
func (t *Tables) CreateTables(partitionKey, sortKey string, names ...string) error {
	for _, name := range names {
		_, err := t.createTable(&createTableRequest{
			TableName: name, BillingMode: "PAY_PER_REQUEST",
			AttributeDefinitions: []attributeDefinition{{partitionKey, kindString}, {sortKey, kindString}},
			KeySchema:            []keySchemaElement{{partitionKey, "HASH"}, {sortKey, "RANGE"}},
		})
		if err != nil {
			return fmt.Errorf("creating table %s: %w", name, err)
		}
	}
	return nil
}

// spec checks the request against the rules that this package keeps.
func (in *createTableRequest) spec(now time.Time) (spec, error) {
	if err := checkTableName(in.TableName); err != nil {
		return spec{}, err
	}
	if in.BillingMode != "PAY_PER_REQUEST" && in.ProvisionedThroughput == nil {
		return spec{}, invalid("One or more parameter values were invalid: ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED")
	}
	kinds := make(map[string]string, len(in.AttributeDefinitions))
	for _, d := range in.AttributeDefinitions {
		kinds[d.AttributeName] = d.AttributeType
	}
	s := spec{Name: in.TableName, Created: now}
	for i, e := range in.KeySchema {
		kind, ok := kinds[e.AttributeName]
		attribute := keyAttribute{Name: e.AttributeName, Kind: kind}
		switch {
		case !ok:
			return spec{}, invalid("One or more parameter values were invalid: Some index key attributes are not defined in AttributeDefinitions. Keys: [%s]", e.AttributeName)
		case kind == kindBinary:
			return spec{}, unsupported("a key of type B")
		case kind != kindString && kind != kindNumber:
			return spec{}, invalid("1 validation error detected: Value '%s' at 'attributeDefinitions.%d.member.attributeType' failed to satisfy constraint: Member must satisfy enum value set: [B, N, S]", kind, i+1)
		case i == 0 && e.KeyType == "HASH":
			s.Hash = attribute
		case i == 1 && e.KeyType == "RANGE":
			s.Sort = &attribute
		default:
			return spec{}, invalid("Invalid KeySchema: The first KeySchemaElement is not a HASH key type, or the second is not a RANGE key type")
		}
	}
	switch {
	case s.Hash.Name == "":
		return spec{}, invalid("1 validation error detected: Value '[]' at 'keySchema' failed to satisfy constraint: Member must have length greater than or equal to 1")
	case len(kinds) != len(in.KeySchema) || len(in.AttributeDefinitions) != len(in.KeySchema):
		return spec{}, invalid("One or more parameter values were invalid: Number of attributes in KeySchema does not exactly match number of attributes defined in AttributeDefinitions")
	}
	return s, nil
}

// checkTableName holds a name to AWS's 3 to 255 of letters, digits, _ - and .
func checkTableName(name string) error {
	bad := func(r rune) bool { return notWord(r) && r != '-' && r != '.' }
	if len(name) >= 3 && len(name) <= 255 && !strings.ContainsFunc(name, bad) {
		return nil
	}
	return invalid("Invalid table/index name.  Table/index names must be between 3 and 255 characters long, and may contain only the characters a-z, A-Z, 0-9, '_', '-', and '.'")
}

func (t *Tables) describeTable(in *tableRequest) (describeTableAnswer, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	tbl, err := t.table(in.TableName)
	if err != nil {
		return describeTableAnswer{}, err
	}
	return describeTableAnswer{tbl.describe("ACTIVE")}, nil
}

func (t *Tables) deleteTable(in *tableRequest) (createTableAnswer, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	tbl, err := t.table(in.TableName)
	if err != nil {
		return createTableAnswer{}, err
	}
	if err := t.commit(entry{Drop: tbl.Name}); err != nil {
		return createTableAnswer{}, err
	}
	return createTableAnswer{tbl.describe("DELETING")}, nil
}

func (t *Tables) updateTimeToLive(in *updateTimeToLiveRequest) (updateTimeToLiveAnswer, error) {
	want := in.TimeToLiveSpecification
	t.mu.Lock()
	defer t.mu.Unlock()
	tbl, err := t.table(in.TableName)
	switch {
	case err != nil:
		return updateTimeToLiveAnswer{}, err
	case want.AttributeName == "":
		return updateTimeToLiveAnswer{}, invalid("1 validation error detected: Value '' at 'timeToLiveSpecification.attributeName' failed to satisfy constraint: Member must have length greater than or equal to 1")
	case want.Enabled && tbl.ttl != "":
		return updateTimeToLiveAnswer{}, invalid("TimeToLive is already enabled")
	case !want.Enabled && tbl.ttl == "":
		return updateTimeToLiveAnswer{}, invalid("TimeToLive is already disabled")
	case !want.Enabled && tbl.ttl != want.AttributeName:
		return updateTimeToLiveAnswer{}, invalid("TimeToLive is active on a different AttributeName: current AttributeName is %s", tbl.ttl)
	}
	set := ttl{Table: tbl.Name}
	if want.Enabled {
		set.Attribute = want.AttributeName
	}
	return updateTimeToLiveAnswer{want}, t.commit(entry{TTL: &set})
}

func (t *table) describe(status string) tableDescription {
	d := tableDescription{
		TableName:          t.Name,
		TableArn:           "arn:aws:dynamodb:local:000000000000:table/" + t.Name,
		TableStatus:        status,
		CreationDateTime:   float64(t.Created.UnixMilli()) / 1000,
		ItemCount:          t.count,
		TableSizeBytes:     t.bytes,
		BillingModeSummary: billingMode{"PAY_PER_REQUEST"},
	}
	for i, a := range t.attributes() {
		d.AttributeDefinitions = append(d.AttributeDefinitions, attributeDefinition{a.Name, a.Kind})
		d.KeySchema = append(d.KeySchema, keySchemaElement{a.Name, []string{"HASH", "RANGE"}[i]})
	}
	return d
}
