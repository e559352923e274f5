// Package functions runs Lambda functions on one machine: each execution environment is an operating-system process of
// its own that speaks the Lambda Runtime API, is frozen between invocations and is reached through the Invoke API.
// It exists for the demo and for end-to-end tests, so that what is deployed can be watched in many environments.
//
// What lives here: starting, freezing, choosing and ending environments, the Runtime API, and of Lambda's own API what
// the broadcaster calls (Invoke, GetFunction, GetFunctionConfiguration, GetAlias, ListTags), and external extensions. What may not: anything that knows
// what a function does, and anything that the deployed Lambda links.
//
// What a function's process starts is stopped, resumed and killed with it, as long as it stays in its process group; but
// only the process itself is waited for.
//
// A stopped process stands in for a frozen micro-VM. It runs nothing, as a frozen environment, but its clocks go on:
// nothing about a time to live on Lambda may be concluded from it.
package functions
