/** Under a bundler's alias, what @aws-lambda-powertools/parameters/secrets/types exports: see powertools.ts. */
export type * from "@aws-lambda-powertools/parameters/secrets/types";
