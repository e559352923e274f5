import { Readable } from "node:stream";

import { markWrapped } from "./invoked.js";
import { invoke } from "./process.js";

/** What this module reads of a Lambda context. */
interface InvocationContext {
  invokedFunctionArn?: string;
}

/** Handlers have any event and any result. */
type AnyHandler = (event: any, ...rest: any[]) => any;

/** How awslambda.streamifyResponse marks a handler: (event, responseStream, context). */
const STREAMING = Symbol.for("aws.lambda.runtime.handler.streaming");

/** What of a response stream is used to answer an invalidation. */
interface ResponseStream {
  end(chunk: string): unknown;
}

/**
 * Returns a handler that answers invalidations itself with an ack and gives everything else to the given one. It starts the
 * check of the log when an invocation starts, so that the first read finds it done, and sends reports beside the handler. A
 * streaming handler stays one, and may also be made one afterwards; what it carries, such as Middy's use, stays on it. One
 * with a callback works with every runtime, and its answer no longer waits for an empty event loop.
 */
export function withInvalidation<H extends AnyHandler>(handler: H): H {
  mustBeFunction(handler, "withInvalidation", "check what it is called with");
  return wrap(handler) as H;
}

function wrap(handler: AnyHandler): AnyHandler {
  // With few parameters of its own: a runtime that has no callbacks any more refuses a handler with three.
  const wrapped: AnyHandler = function (this: unknown, event: unknown, ...rest: unknown[]) {
    const how = STREAMING in wrapped ? stream : buffer;
    return how((...args) => handler.apply(this, args), handler.length, event, rest);
  };
  markWrapped(wrapped);
  carryOver(handler, wrapped);
  return wrapped;
}

/** Gives a wrapped handler what the one in it carries. What returns that one, to be called again, returns the wrapped one. */
function carryOver(handler: AnyHandler, wrapped: AnyHandler): void {
  for (const key of Reflect.ownKeys(handler)) {
    if (Object.hasOwn(wrapped, key)) continue; // what every function has
    const descriptor = Object.getOwnPropertyDescriptor(handler, key) as PropertyDescriptor;
    const { value } = descriptor as { value?: unknown };
    if (typeof value === "function") {
      descriptor.value = (...args: unknown[]): unknown => {
        const returned: unknown = value.apply(handler, args);
        return returned === handler ? wrapped : returned;
      };
    }
    Object.defineProperty(wrapped, key, descriptor);
  }
}

type Invocation = (call: AnyHandler, parameters: number, event: unknown, rest: unknown[]) => unknown;

const buffer: Invocation = (call, parameters, event, rest) => {
  const [context, third] = rest;
  const hasCallback = typeof third === "function" || (third === undefined && parameters >= 3);
  return invoke(event, arnOf(context), () => (hasCallback ? callWithCallback(call, parameters, event, context) : call(event, ...rest)));
};

/**
 * As the runtimes up to Node 22 do: the answer is the callback's or a promise's, whichever comes first, or there is none and
 * nothing left to do. What else a handler returns is no answer, unless it declares no callback: Node 24 would send that.
 */
async function callWithCallback(call: AnyHandler, parameters: number, event: unknown, context: unknown): Promise<unknown> {
  let nothingLeft = () => {};
  const answer = new Promise((resolve, reject) => {
    nothingLeft = () => resolve(undefined);
    const callback = (error: unknown, result: unknown) => (isNothing(error) ? resolve(result) : reject(error));
    const returned: unknown = call(event, context, callback); // what it throws after an answer is lost, as in the runtime
    if (isThenable(returned)) returned.then(resolve, reject);
    else if (returned !== undefined && parameters < 3) resolve(returned);
  });
  process.once("beforeExit", nothingLeft);
  try {
    return await answer;
  } finally {
    process.off("beforeExit", nothingLeft);
  }
}

const isNothing = (value: unknown): boolean => value === undefined || value === null;

const isThenable = (value: unknown): value is PromiseLike<unknown> =>
  !isNothing(value) && typeof (value as { then?: unknown }).then === "function";

const stream: Invocation = async (call, _parameters, event, rest) => {
  const [out, context] = rest;
  let own = false;
  const answer = await invoke<unknown>(event, arnOf(context), () => {
    own = true;
    return call(event, ...rest);
  });
  if (own) return answer;
  (out as ResponseStream).end(JSON.stringify(answer));
  return undefined;
};

const arnOf = (context: unknown): string | undefined => (context as InvocationContext | undefined)?.invokedFunctionArn;

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
 * that would not know what to make of it. And on the handler that Lambda calls, not on one that a router calls.
 */
export function invalidation(): InvalidationMiddleware {
  // A later middleware may end an invocation early, and then neither after nor onError is called.
  const ends = new WeakMap<MiddyRequest, () => Promise<void>>();
  let last: MiddyRequest | undefined; // where one begins after the other has ended

  const end = async (request: MiddyRequest): Promise<void> => {
    const ended = ends.get(request);
    ends.delete(request);
    if (last === request) last = undefined;
    await ended?.();
  };

  return {
    async before(request) {
      if (last !== undefined) await end(last);
      let finish = () => {};
      const handled = new Promise<void>((resolve) => {
        finish = resolve;
      });
      let begun = () => {};
      const isOwn = new Promise<true>((resolve) => {
        begun = () => resolve(true);
      });
      const own = (): Promise<void> => {
        begun();
        return handled;
      };
      const invocation = invoke(request.event, arnOf(request.context), own, true);
      const first = await Promise.race([isOwn, invocation]);
      if (first !== true) return streamable(first);
      ends.set(request, async () => {
        finish();
        await invocation;
      });
      if (!isConcurrent()) last = request;
      return undefined;
    },
    after: end,
    onError: end,
  };
}

/**
 * An ack with which Middy ends an invocation. With its streamifyResponse, of which it tells a middleware nothing, it wants a
 * stream; otherwise the runtime makes JSON of it.
 */
const streamable = (ack: unknown): unknown => Object.assign(Readable.from([JSON.stringify(ack)]), { toJSON: () => ack });

/** Whether this environment may have several invocations under way. */
const isConcurrent = (): boolean => process.env["AWS_LAMBDA_INITIALIZATION_TYPE"] === "lambda-managed-instances";

/**
 * The decorator of a class's handler method that does what withInvalidation does: as Powertools' are used, with
 * TypeScript's experimentalDecorators, and as the language itself has decorators.
 */
export function invalidationHandler() {
  return (target: unknown, at: string | symbol | { name: string | symbol }, descriptor?: PropertyDescriptor): any => {
    const method: unknown = typeof at === "object" ? target : descriptor?.value;
    const name = typeof at === "object" ? at.name : at;
    mustBeFunction(method, "invalidationHandler", `decorate a method, which ${String(name)} is not`);
    const wrapped = wrap(method as AnyHandler);
    return descriptor === undefined ? wrapped : { ...descriptor, value: wrapped };
  };
}

function mustBeFunction(handler: unknown, what: string, remedy: string): void {
  if (typeof handler === "function") return;
  throw new TypeError(`${what} needs the handler function, not ${handler === null ? "null" : typeof handler}: ${remedy}`);
}
