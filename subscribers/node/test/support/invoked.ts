import { withInvalidation } from "../../src/index.js";

/** The handler that Lambda calls, as far as _HANDLER says: what tests call instead is no export of any module. */
export const handler = withInvalidation(() => undefined);
