package tables

const maxBatchKeys = 100

type getItemRequest struct {
	TableName                string
	Key                      item
	ConsistentRead           bool
	ProjectionExpression     *string
	ExpressionAttributeNames map[string]string
	ReturnConsumedCapacity   string
}

type getItemAnswer struct {
	Item             item              `json:",omitempty"`
	ConsumedCapacity *consumedCapacity `json:",omitempty"`
}

func (t *Tables) getItem(in *getItemRequest) (getItemAnswer, error) {
	keep, err := projectionOf(in.ProjectionExpression, in.ExpressionAttributeNames)
	if err != nil {
		return getItemAnswer{}, err
	}
	found, err := t.lookup(in.TableName, in.Key)
	if err != nil {
		return getItemAnswer{}, err
	}
	cost, err := consumed(in.ReturnConsumedCapacity, in.TableName, readUnits(found.size(), in.ConsistentRead))
	return getItemAnswer{Item: keep.of(found), ConsumedCapacity: cost}, err
}

// lookup reads one item; nil if it is not there.
func (t *Tables) lookup(name string, at item) (item, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	tbl, err := t.table(name)
	if err != nil {
		return nil, err
	}
	k, err := tbl.exactKey(at)
	if err != nil {
		return nil, err
	}
	return tbl.get(k), nil
}

// projectionOf reads a projection whose request has no other expression.
func projectionOf(text *string, names map[string]string) (projection, error) {
	p, err := newPlaceholders(names, nil, text != nil)
	if err != nil {
		return nil, err
	}
	keep, err := parseProjection(text, p)
	if err != nil {
		return nil, err
	}
	return keep, p.unused()
}

type batchGetItemRequest struct {
	RequestItems           map[string]keysRequest
	ReturnConsumedCapacity string
}

type keysRequest struct {
	Keys                     []item
	ConsistentRead           bool
	ProjectionExpression     *string
	ExpressionAttributeNames map[string]string
}

type batchGetItemAnswer struct {
	Responses        map[string][]item
	UnprocessedKeys  map[string]keysRequest // always empty: nothing is throttled
	ConsumedCapacity []*consumedCapacity    `json:",omitempty"`
}

func (t *Tables) batchGetItem(in *batchGetItemRequest) (batchGetItemAnswer, error) {
	out := batchGetItemAnswer{Responses: make(map[string][]item), UnprocessedKeys: map[string]keysRequest{}}
	total := 0
	for name, request := range in.RequestItems {
		if len(request.Keys) == 0 {
			return out, invalid("1 validation error detected: Value '[]' at 'requestItems.%s.member.keys' failed to satisfy constraint: Member must have length greater than or equal to 1", name)
		}
		total += len(request.Keys)
	}
	switch {
	case total == 0:
		return out, invalid("1 validation error detected: Value '{}' at 'requestItems' failed to satisfy constraint: Member must have length greater than or equal to 1")
	case total > maxBatchKeys:
		return out, invalid("Too many items requested for the BatchGetItem call")
	}
	for name, request := range in.RequestItems {
		items, units, err := t.batchOf(name, request)
		if err != nil {
			return out, err
		}
		cost, err := consumed(in.ReturnConsumedCapacity, name, units)
		if err != nil {
			return out, err
		}
		if out.Responses[name] = items; cost != nil {
			out.ConsumedCapacity = append(out.ConsumedCapacity, cost)
		}
	}
	return out, nil
}

// batchOf reads one table's part of a batch, each key under a lock of its own:
// a batch is not a snapshot.
func (t *Tables) batchOf(name string, request keysRequest) (items []item, units float64, err error) {
	keep, err := projectionOf(request.ProjectionExpression, request.ExpressionAttributeNames)
	if err != nil {
		return nil, 0, err
	}
	items = []item{}
	seen := make(map[string]bool, len(request.Keys))
	for _, at := range request.Keys {
		id := string(at.append(nil))
		if seen[id] {
			return nil, 0, invalid("Provided list of item keys contains duplicates")
		}
		seen[id] = true
		found, err := t.lookup(name, at)
		if err != nil {
			return nil, 0, err
		}
		if units += readUnits(found.size(), request.ConsistentRead); found != nil {
			items = append(items, keep.of(found))
		}
	}
	return items, units, nil
}
