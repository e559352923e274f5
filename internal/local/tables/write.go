package tables

// write is one checked action on one item, ready to be decided.
type write struct {
	table     *table
	key       key
	condition condition // nil: none
	returnOld bool      // with a failed condition
	// next makes the new item from the old; nil is no item. A nil function
	// changes nothing (ConditionCheck).
	next func(old item) (item, error)
}

// decide evaluates the condition and makes the new item. changed is nil if
// there is nothing to store.
func (w write) decide() (old, updated item, changed *change, err error) {
	old = w.table.get(w.key)
	if w.condition != nil && !w.condition.holds(old) {
		if w.returnOld {
			return old, nil, nil, conditionFailed(old)
		}
		return old, nil, nil, conditionFailed(nil)
	}
	if w.next == nil {
		return old, old, nil, nil
	}
	updated, err = w.next(old)
	switch {
	case err != nil:
		return old, nil, nil, err
	case updated != nil:
		return old, updated, &change{Table: w.table.Name, Put: updated}, nil
	case old != nil:
		return old, nil, &change{Table: w.table.Name, Delete: w.table.keyItem(old)}, nil
	}
	return nil, nil, nil, nil
}

// putAction, keyAction and updateAction are the parameters that a single write
// and an action of a transaction share.
type putAction struct {
	TableName string
	Item      item
	expressions
	ReturnValuesOnConditionCheckFailure string
}

type keyAction struct { // Delete, ConditionCheck
	TableName string
	Key       item
	expressions
	ReturnValuesOnConditionCheckFailure string
}

type updateAction struct {
	keyAction
	UpdateExpression *string
}

// The caller of the prepare methods holds the lock.
func (t *Tables) preparePut(in putAction) (write, error) {
	w, err := t.prepare(in.TableName, in.ReturnValuesOnConditionCheckFailure)
	if err != nil {
		return write{}, err
	}
	if w.condition, _, err = in.parse(nil); err != nil {
		return write{}, err
	}
	if in.Item.size() > maxItemBytes {
		return write{}, invalid("Item size has exceeded the maximum allowed size")
	}
	w.next = func(item) (item, error) { return in.Item, nil }
	w.key, err = w.table.keyOf(in.Item)
	return w, err
}

func (t *Tables) prepareDelete(in keyAction) (write, error) {
	w, err := t.prepareCheck(in)
	w.next = func(item) (item, error) { return nil, nil }
	return w, err
}

func (t *Tables) prepareCheck(in keyAction) (write, error) {
	w, _, err := t.prepareUpdate(updateAction{keyAction: in})
	w.next = nil
	return w, err
}

func (t *Tables) prepareUpdate(in updateAction) (write, update, error) {
	w, err := t.prepare(in.TableName, in.ReturnValuesOnConditionCheckFailure)
	if err != nil {
		return write{}, nil, err
	}
	var changes update
	if w.condition, changes, err = in.parse(in.UpdateExpression); err != nil {
		return write{}, nil, err
	}
	for _, a := range changes {
		if name := a.path[0].name; w.table.isKey(name) {
			return write{}, nil, invalidItem("One or more parameter values were invalid: Cannot update attribute %s. This attribute is part of the key", name)
		}
	}
	w.next = func(old item) (item, error) {
		if old == nil {
			old = in.Key
		}
		updated, err := changes.apply(old)
		if err == nil && updated.size() > maxItemBytes {
			err = invalidItem("Item size to update has exceeded the maximum allowed size")
		}
		return updated, err
	}
	w.key, err = w.table.exactKey(in.Key)
	return w, changes, err
}

func (t *Tables) prepare(name, onFailure string) (write, error) {
	tbl, err := t.table(name)
	if err != nil {
		return write{}, err
	}
	switch onFailure {
	case "", "NONE", "ALL_OLD":
		return write{table: tbl, returnOld: onFailure == "ALL_OLD"}, nil
	}
	return write{}, invalid("1 validation error detected: Value '%s' at 'returnValuesOnConditionCheckFailure' failed to satisfy constraint: Member must satisfy enum value set: [ALL_OLD, NONE]", onFailure)
}

// parse reads the condition and, if there is one, the update.
func (e expressions) parse(updateText *string) (condition, update, error) {
	present := e.ConditionExpression != nil || updateText != nil
	names, err := newPlaceholders(e.ExpressionAttributeNames, e.ExpressionAttributeValues, present)
	if err != nil {
		return nil, nil, err
	}
	changes, err := parseUpdate(updateText, names)
	if err != nil {
		return nil, nil, err
	}
	c, err := parseCondition("ConditionExpression", e.ConditionExpression, names)
	if err != nil {
		return nil, nil, err
	}
	return c, changes, names.unused()
}

type putItemRequest struct {
	putAction
	ReturnValues string
}

type deleteItemRequest struct {
	keyAction
	ReturnValues string
}

type updateItemRequest struct {
	updateAction
	ReturnValues string
}

type writeAnswer struct {
	Attributes item `json:",omitempty"`
}

func (t *Tables) putItem(in *putItemRequest) (writeAnswer, error) {
	if err := oldOrNone(in.ReturnValues); err != nil {
		return writeAnswer{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	w, err := t.preparePut(in.putAction)
	if err != nil {
		return writeAnswer{}, err
	}
	old, _, err := t.store(w)
	return returned(in.ReturnValues, old, nil, nil), err
}

func (t *Tables) deleteItem(in *deleteItemRequest) (writeAnswer, error) {
	if err := oldOrNone(in.ReturnValues); err != nil {
		return writeAnswer{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	w, err := t.prepareDelete(in.keyAction)
	if err != nil {
		return writeAnswer{}, err
	}
	old, _, err := t.store(w)
	return returned(in.ReturnValues, old, nil, nil), err
}

func (t *Tables) updateItem(in *updateItemRequest) (writeAnswer, error) {
	switch in.ReturnValues {
	case "", "NONE", "ALL_OLD", "ALL_NEW", "UPDATED_OLD", "UPDATED_NEW":
	default:
		return writeAnswer{}, returnValues(in.ReturnValues, "ALL_NEW, UPDATED_OLD, ALL_OLD, NONE, UPDATED_NEW")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	w, changes, err := t.prepareUpdate(in.updateAction)
	if err != nil {
		return writeAnswer{}, err
	}
	old, updated, err := t.store(w)
	return returned(in.ReturnValues, old, updated, changes), err
}

// store decides and commits a single write.
func (t *Tables) store(w write) (old, updated item, err error) {
	old, updated, changed, err := w.decide()
	if err != nil || changed == nil {
		return old, updated, err
	}
	return old, updated, t.commit(entry{Changes: []change{*changed}})
}

func oldOrNone(wanted string) error {
	switch wanted {
	case "", "NONE", "ALL_OLD":
		return nil
	}
	return returnValues(wanted, "ALL_OLD, NONE")
}

func returnValues(wanted, allowed string) error {
	return invalid("1 validation error detected: Value '%s' at 'returnValues' failed to satisfy constraint: Member must satisfy enum value set: [%s]", wanted, allowed)
}

func returned(wanted string, old, updated item, changes update) writeAnswer {
	switch wanted {
	case "ALL_OLD":
		return writeAnswer{old}
	case "ALL_NEW":
		return writeAnswer{updated}
	case "UPDATED_OLD":
		return writeAnswer{changes.touched(old)}
	case "UPDATED_NEW":
		return writeAnswer{changes.touched(updated)}
	}
	return writeAnswer{}
}
