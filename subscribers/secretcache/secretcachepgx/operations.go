package secretcachepgx

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// These are all of pgxpool.Pool's methods that may open a connection for their caller.

// Acquire is pgxpool's.
func (p *Pool) Acquire(ctx context.Context) (conn *pgxpool.Conn, err error) {
	err = p.try(ctx, func(ctx context.Context) (err error) {
		conn, err = p.Pool.Acquire(ctx)
		return err
	})
	return conn, err
}

// AcquireFunc is pgxpool's.
func (p *Pool) AcquireFunc(ctx context.Context, f func(*pgxpool.Conn) error) error {
	conn, err := p.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	return f(conn)
}

// Exec is pgxpool's.
func (p *Pool) Exec(ctx context.Context, sql string, args ...any) (tag pgconn.CommandTag, err error) {
	err = p.try(ctx, func(ctx context.Context) (err error) {
		tag, err = p.Pool.Exec(ctx, sql, args...)
		return err
	})
	return tag, err
}

// Query is pgxpool's.
func (p *Pool) Query(ctx context.Context, sql string, args ...any) (rows pgx.Rows, err error) {
	err = p.try(ctx, func(ctx context.Context) (err error) {
		rows, err = p.Pool.Query(ctx, sql, args...)
		return err
	})
	if err != nil { // rows that tell the error, for those who look there only
		return failed(err).Query()
	}
	return rows, nil
}

// QueryRow is pgxpool's.
func (p *Pool) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	rows, err := p.Query(ctx, sql, args...)
	if err != nil {
		return failed(err).QueryRow()
	}
	return row{rows}
}

func failed(err error) pgx.BatchResults { return pgx.FailedBatchResults(&pgx.Batch{}, err) }

type row struct{ rows pgx.Rows }

// Scan implements pgx.Row.
func (r row) Scan(dest ...any) error {
	defer r.rows.Close()
	if !r.rows.Next() {
		if err := r.rows.Err(); err != nil {
			return err
		}
		return pgx.ErrNoRows
	}
	if err := r.rows.Scan(dest...); err != nil {
		return err
	}
	r.rows.Close()
	return r.rows.Err()
}

// SendBatch is pgxpool's.
func (p *Pool) SendBatch(ctx context.Context, batch *pgx.Batch) pgx.BatchResults {
	conn, err := p.Acquire(ctx)
	if err != nil {
		return pgx.FailedBatchResults(batch, err)
	}
	return batchResults{conn.SendBatch(ctx, batch), conn}
}

// batchResults give their connection back when they, or the transaction that they began, are done.
type batchResults struct {
	pgx.BatchResults
	conn *pgxpool.Conn
}

// Close implements pgx.BatchResults.
func (b batchResults) Close() error {
	if b.BatchResults.Tx() == nil {
		defer b.conn.Release()
	}
	return b.BatchResults.Close()
}

// Tx implements pgx.BatchResults.
func (b batchResults) Tx() pgx.Tx {
	tx := b.BatchResults.Tx()
	if tx == nil {
		return nil
	}
	return batchTx{tx, b.conn}
}

type batchTx struct {
	pgx.Tx
	conn *pgxpool.Conn
}

// Commit implements pgx.Tx.
func (tx batchTx) Commit(ctx context.Context) error {
	defer tx.conn.Release()
	return tx.Tx.Commit(ctx)
}

// Rollback implements pgx.Tx.
func (tx batchTx) Rollback(ctx context.Context) error {
	defer tx.conn.Release()
	return tx.Tx.Rollback(ctx)
}

// Begin is pgxpool's.
func (p *Pool) Begin(ctx context.Context) (pgx.Tx, error) { return p.BeginTx(ctx, pgx.TxOptions{}) }

// BeginTx is pgxpool's.
func (p *Pool) BeginTx(ctx context.Context, options pgx.TxOptions) (tx pgx.Tx, err error) {
	err = p.try(ctx, func(ctx context.Context) (err error) {
		tx, err = p.Pool.BeginTx(ctx, options)
		return err
	})
	return tx, err
}

// CopyFrom is pgxpool's.
func (p *Pool) CopyFrom(ctx context.Context, table pgx.Identifier, columns []string, source pgx.CopyFromSource) (n int64, err error) {
	err = p.try(ctx, func(ctx context.Context) (err error) {
		n, err = p.Pool.CopyFrom(ctx, table, columns, source)
		return err
	})
	return n, err
}

// Ping is pgxpool's.
func (p *Pool) Ping(ctx context.Context) error {
	return p.try(ctx, p.Pool.Ping)
}
