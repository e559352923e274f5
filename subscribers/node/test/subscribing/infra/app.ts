import { SecretBroadcast, nodejsBundling } from "@bank-platform/secret-broadcast/cdk";
import { App, Aspects, Stack } from "aws-cdk-lib";
import { Runtime } from "aws-cdk-lib/aws-lambda";
import { NodejsFunction } from "aws-cdk-lib/aws-lambda-nodejs";

const app = new App();
const stack = new Stack(app, "Payments");
new NodejsFunction(stack, "PaymentsApi", { entry: "src/pay.ts", runtime: Runtime.NODEJS_22_X, bundling: nodejsBundling() });
Aspects.of(app).add(new SecretBroadcast({ env: "prod", domain: "payments" }));
app.synth();
