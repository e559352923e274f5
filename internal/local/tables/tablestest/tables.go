package tablestest

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"
)

func tableCases() []contract {
	return []contract{
		{"a created table is active and describes its keys", describesItself},
		{"a name that is taken is refused", refusesTakenName},
		{"a key without a definition is refused", refusesUndefinedKey},
		{"an operation on a table that is not there is refused", refusesUnknownTable},
		{"a deleted table is gone and its name is free", deletesTable},
		{"a time to live is accepted", acceptsTimeToLive},
	}
}

func describesItself(f *fixture) {
	out, err := f.client.DescribeTable(f.Context(), &dynamodb.DescribeTableInput{TableName: &f.table})
	f.must(err)
	if got := out.Table.TableStatus; got != types.TableStatusActive {
		f.Errorf("status %q", got)
	}
	var keys []string
	for _, e := range out.Table.KeySchema {
		keys = append(keys, *e.AttributeName+" "+string(e.KeyType))
	}
	for _, d := range out.Table.AttributeDefinitions {
		keys = append(keys, *d.AttributeName+" "+string(d.AttributeType))
	}
	if diff := cmp.Diff([]string{"pk HASH", "sk RANGE", "pk S", "sk S"}, keys); diff != "" {
		f.Errorf("keys (-want +got):\n%s", diff)
	}
}

func refusesTakenName(f *fixture) {
	_, err := f.client.CreateTable(f.Context(), &dynamodb.CreateTableInput{
		TableName: &f.table, BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("pk"), AttributeType: "S"}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("pk"), KeyType: types.KeyTypeHash}},
	})
	f.refused(err, "ResourceInUseException")
}

func refusesUndefinedKey(f *fixture) {
	_, err := f.client.CreateTable(f.Context(), &dynamodb.CreateTableInput{
		TableName: aws.String("no-such-key"), BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("other"), AttributeType: "S"}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("pk"), KeyType: types.KeyTypeHash}},
	})
	f.refused(err, validation)
}

func refusesUnknownTable(f *fixture) {
	ctx, name := f.Context(), aws.String("no-such-table")
	_, err := f.client.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: name})
	f.refused(err, notFound)
	_, err = f.client.DeleteTable(ctx, &dynamodb.DeleteTableInput{TableName: name})
	f.refused(err, notFound)
	_, err = f.client.GetItem(ctx, &dynamodb.GetItemInput{TableName: name, Key: at("a", "b")})
	f.refused(err, notFound)
	_, err = f.client.PutItem(ctx, &dynamodb.PutItemInput{TableName: name, Item: at("a", "b")})
	f.refused(err, notFound)
	_, err = f.client.UpdateItem(ctx, &dynamodb.UpdateItemInput{TableName: name, Key: at("a", "b")})
	f.refused(err, notFound)
	_, err = f.client.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: name, Key: at("a", "b")})
	f.refused(err, notFound)
	_, err = f.client.Query(ctx, &dynamodb.QueryInput{
		TableName: name, KeyConditionExpression: aws.String("pk = :p"), ExpressionAttributeValues: row{":p": s("a")},
	})
	f.refused(err, notFound)
	_, err = f.client.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{
		RequestItems: map[string]types.KeysAndAttributes{*name: {Keys: []row{at("a", "b")}}},
	})
	f.refused(err, notFound)
	_, err = f.client.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{
		TransactItems: []types.TransactWriteItem{{Put: &types.Put{TableName: name, Item: at("a", "b")}}},
	})
	f.refused(err, notFound)
}

func deletesTable(f *fixture) {
	f.put(at("a", "b"))
	_, err := f.client.DeleteTable(f.Context(), &dynamodb.DeleteTableInput{TableName: &f.table})
	f.must(err)
	_, err = f.client.DescribeTable(f.Context(), &dynamodb.DescribeTableInput{TableName: &f.table})
	f.refused(err, notFound)
	_, err = f.client.CreateTable(f.Context(), &dynamodb.CreateTableInput{
		TableName: &f.table, BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: aws.String("pk"), AttributeType: "S"},
			{AttributeName: aws.String("sk"), AttributeType: "S"},
		},
		KeySchema: []types.KeySchemaElement{
			{AttributeName: aws.String("pk"), KeyType: types.KeyTypeHash},
			{AttributeName: aws.String("sk"), KeyType: types.KeyTypeRange},
		},
	})
	f.must(err)
	f.same(f.get(at("a", "b")), nil)
}

func acceptsTimeToLive(f *fixture) {
	out, err := f.client.UpdateTimeToLive(f.Context(), &dynamodb.UpdateTimeToLiveInput{
		TableName:               &f.table,
		TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: aws.String("expires"), Enabled: aws.Bool(true)},
	})
	f.must(err)
	if !*out.TimeToLiveSpecification.Enabled {
		f.Error("not enabled")
	}
}
