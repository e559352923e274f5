import { invoke, noteWrapped } from "./process.js";

/** What this module reads of a Lambda context. */
interface InvocationContext {
  invokedFunctionArn?: string;
}

/** Handlers have any event and any result. */
type AnyHandler = (event: any, context: any, ...rest: any[]) => any;

/** How awslambda.streamifyResponse marks a handler: (event, responseStream, context). */
const STREAMING = Symbol.for("aws.lambda.runtime.handler.streaming");

/** What of a response stream is used to answer an invalidation. */
interface ResponseStream {
  end(chunk: string): unknown;
}

/**
 * Returns a handler that answers invalidations itself with an ack and gives everything else to the given one. It starts the
 * check of the log when an invocation starts, so that the first read finds it done, and sends reports beside the handler. A
 * streaming handler stays one; one with a callback as well, and its answer no longer waits for an empty event loop.
 */
export function withInvalidation<H extends AnyHandler>(handler: H): H {
  mustBeFunction(handler, "withInvalidation", "check what it is called with");
  noteWrapped();
  return (isStreaming(handler) ? wrapStreaming(handler) : wrap(handler)) as H;
}

function wrap(handler: AnyHandler): AnyHandler {
  // Two parameters: a runtime that has no callbacks any more refuses a handler with three.
  return function (this: unknown, event: unknown, context: InvocationContext) {
    return invoke(event, context?.invokedFunctionArn, () => call(this, handler, event, context));
  };
}

function call(self: unknown, handler: AnyHandler, event: unknown, context: unknown): unknown {
  if (handler.length < 3) return handler.call(self, event, context);
  return new Promise((resolve, reject) => {
    const callback = (error: unknown, result: unknown) => (error ? reject(error) : resolve(result));
    const returned: unknown = handler.call(self, event, context, callback);
    if (typeof (returned as { then?: unknown } | undefined)?.then === "function") resolve(returned);
  });
}

const isStreaming = (handler: AnyHandler): boolean => STREAMING in handler;

function wrapStreaming(handler: AnyHandler): AnyHandler {
  const wrapped = async function (this: unknown, event: unknown, stream: ResponseStream, context: InvocationContext) {
    let own = false;
    const answer = await invoke<unknown>(event, context?.invokedFunctionArn, () => {
      own = true;
      return handler.call(this, event, stream, context);
    });
    if (own) return answer;
    stream.end(JSON.stringify(answer));
    return undefined;
  };
  for (const key of Object.getOwnPropertySymbols(handler)) {
    Object.defineProperty(wrapped, key, Object.getOwnPropertyDescriptor(handler, key) as PropertyDescriptor);
  }
  return wrapped;
}

/** What Middy hands to a middleware, as far as it is used here. */
interface MiddyRequest {
  event: unknown;
  context: unknown;
}

/** A middleware of Middy. */
export interface InvalidationMiddleware {
  before(request: MiddyRequest): Promise<unknown>;
  after(request: MiddyRequest): Promise<void>;
  onError(request: MiddyRequest): Promise<void>;
}

/**
 * The Middy middleware that does what withInvalidation does. Use it first: an invalidation ends there, before a middleware
 * that would not know what to make of it.
 */
export function invalidation(): InvalidationMiddleware {
  noteWrapped();
  const open = new Map<MiddyRequest, () => Promise<void>>();

  const end = async (request: MiddyRequest): Promise<void> => {
    const ended = open.get(request);
    open.delete(request);
    await ended?.();
  };

  return {
    async before(request) {
      // A later middleware may have ended an invocation early, so that after was not called.
      if (!isConcurrent()) for (const earlier of open.keys()) await end(earlier);
      let finish = () => {};
      const handled = new Promise<void>((resolve) => {
        finish = resolve;
      });
      const arn = (request.context as InvocationContext | undefined)?.invokedFunctionArn;
      let begun = () => {};
      const isOwn = new Promise<true>((resolve) => {
        begun = () => resolve(true);
      });
      const invocation = invoke(request.event, arn, () => {
        begun();
        return handled;
      });
      const first = await Promise.race([isOwn, invocation]);
      if (first !== true) return first; // the ack: Middy answers with it at once
      open.set(request, async () => {
        finish();
        await invocation;
      });
      return undefined;
    },
    after: end,
    onError: end,
  };
}

/** Whether this environment may have several invocations under way. */
const isConcurrent = (): boolean => process.env["AWS_LAMBDA_INITIALIZATION_TYPE"] === "lambda-managed-instances";

/** The decorator of a class's handler method that does what withInvalidation does. It is used as Powertools' are. */
export function invalidationHandler() {
  return (_target: unknown, key: string | symbol, descriptor: PropertyDescriptor): void => {
    mustBeFunction(descriptor?.value, "invalidationHandler", `decorate a method, which ${String(key)} is not`);
    noteWrapped();
    descriptor.value = wrap(descriptor.value as AnyHandler);
  };
}

function mustBeFunction(handler: unknown, what: string, remedy: string): void {
  if (typeof handler === "function") return;
  throw new TypeError(`${what} needs the handler function, not ${handler === null ? "null" : typeof handler}: ${remedy}`);
}
