// Package queue is an Amazon SQS standard queue on one machine together with the Lambda event source mapping that empties
// it into a function. It exists for the demo and for end-to-end tests: messages come late, twice, in any order and in
// batches that fail in part, as the broadcaster must expect of the real pair.
//
// What lives here: holding messages, handing batches to a function, judging its answer, SendMessage and GetQueueAttributes
// over HTTP. What may not: anything that knows what a message says or how a function is run, and anything that the deployed
// Lambda links.
package queue
