/**
 * What @aws-lambda-powertools/parameters/secrets exports, with a cache that follows the change log. A bundler's alias puts
 * this module in the place of that one; so nothing that it imports may import that one.
 */
export { getSecret, InvalidatingSecretsProvider as SecretsProvider } from "./provider.js";
