package tables

const maxBatchWrites = 25

type batchWriteItemRequest struct {
	RequestItems           map[string][]writeRequest
	ReturnConsumedCapacity string
}

type writeRequest struct { // exactly one is set
	PutRequest    *struct{ Item item } `json:",omitempty"`
	DeleteRequest *struct{ Key item }  `json:",omitempty"`
}

type batchWriteItemAnswer struct {
	UnprocessedItems map[string][]writeRequest // always empty: nothing is throttled
}

// batchWriteItem stores all of a batch at once. AWS promises less: each write by itself.
func (t *Tables) batchWriteItem(in *batchWriteItemRequest) (batchWriteItemAnswer, error) {
	out := batchWriteItemAnswer{UnprocessedItems: map[string][]writeRequest{}}
	if in.ReturnConsumedCapacity != "" && in.ReturnConsumedCapacity != "NONE" {
		return out, unsupported("ReturnConsumedCapacity of BatchWriteItem")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var changes []change
	seen := map[string]bool{}
	total := 0
	for name, requests := range in.RequestItems {
		for _, r := range requests {
			total++
			w, err := t.prepareBatched(name, r)
			if err != nil {
				return out, err
			}
			_, _, changed, err := w.decide()
			if err != nil {
				return out, err
			}
			id := name + "\x00" + string(batchKey(w, r))
			if seen[id] {
				return out, invalid("Provided list of item keys contains duplicates")
			}
			if seen[id] = true; changed != nil {
				changes = append(changes, *changed)
			}
		}
	}
	switch {
	case total == 0:
		return out, invalid("1 validation error detected: Value '{}' at 'requestItems' failed to satisfy constraint: Member must have length greater than or equal to 1")
	case total > maxBatchWrites:
		return out, invalid("Too many items requested for the BatchWriteItem call")
	}
	return out, t.commit(entry{Changes: changes})
}

func (t *Tables) prepareBatched(table string, r writeRequest) (write, error) {
	switch {
	case r.PutRequest != nil && r.DeleteRequest == nil:
		return t.preparePut(putAction{TableName: table, Item: r.PutRequest.Item})
	case r.DeleteRequest != nil && r.PutRequest == nil:
		return t.prepareDelete(keyAction{TableName: table, Key: r.DeleteRequest.Key})
	}
	return write{}, invalid("Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes")
}

// batchKey identifies the item a request is about.
func batchKey(w write, r writeRequest) []byte {
	if r.DeleteRequest != nil {
		return r.DeleteRequest.Key.append(nil)
	}
	return w.table.keyItem(r.PutRequest.Item).append(nil)
}
