//go:build !lambdaartifact

package main
