/**
 * What Lambda's Node runtime does for a handler: the loop over the Runtime API
 * (https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html).
 */
import { Agent, request } from "node:http";

import { handler } from "./function.js";

export { handler }; // as _HANDLER names it

const invoke: (event: never, context: object) => Promise<unknown> = handler;
const base = `http://${process.env["AWS_LAMBDA_RUNTIME_API"]}/2018-06-01/runtime`;
const agent = new Agent({ keepAlive: true, maxSockets: 1 });

interface Answer {
  headers: Record<string, string | string[] | undefined>;
  body: string;
}

function call(method: string, path: string, body?: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request(`${base}/${path}`, { method, agent }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => (text += chunk));
      response.on("error", reject);
      response.on("end", () => resolve({ headers: response.headers, body: text }));
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

async function serve(): Promise<never> {
  for (;;) {
    const { headers, body } = await call("GET", "invocation/next");
    const id = String(headers["lambda-runtime-aws-request-id"]);
    const context = { awsRequestId: id, invokedFunctionArn: String(headers["lambda-runtime-invoked-function-arn"]) };
    let answer: [path: string, body: unknown];
    try {
      answer = [`invocation/${id}/response`, await invoke(JSON.parse(body) as never, context)];
    } catch (error) {
      const { name, message } = error instanceof Error ? error : new Error("what was thrown is no Error");
      answer = [`invocation/${id}/error`, { errorType: name, errorMessage: message }];
    }
    await call("POST", answer[0], JSON.stringify(answer[1]));
  }
}

void serve(); // not awaited: else this module would never be loaded
