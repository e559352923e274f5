package tables

// projection is a parsed ProjectionExpression; nil keeps everything.
type projection []path

func parseProjection(text *string, names *placeholders) (projection, error) {
	if text == nil {
		return nil, nil
	}
	p, err := newParser("ProjectionExpression", *text, names)
	if err != nil {
		return nil, err
	}
	var out projection
	for {
		next, err := p.path()
		if err != nil {
			return nil, err
		}
		if len(next) > 1 {
			return nil, unsupported("a nested path in a ProjectionExpression")
		}
		for _, before := range out {
			if next.overlaps(before) {
				return nil, p.overlap(before, next)
			}
		}
		if out = append(out, next); !p.symbol(",") {
			return out, p.end()
		}
	}
}

func (p projection) of(it item) item {
	if p == nil || it == nil {
		return it
	}
	out := make(item, len(p))
	for _, path := range p {
		if v, ok := it[path[0].name]; ok {
			out[path[0].name] = v
		}
	}
	return out
}
