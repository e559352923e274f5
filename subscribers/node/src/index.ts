export { type InvalidationMiddleware, invalidation, invalidationHandler, withInvalidation } from "./handler.js";
export {
  clearCaches,
  defaultProvider,
  getSecret,
  InvalidatingSecretsProvider,
  type SecretsTryOptions,
} from "./provider.js";
export type { OnChange, Version } from "./state.js";
export { RejectedError, rejected } from "./try.js";
