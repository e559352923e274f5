import { App, Stack } from "aws-cdk-lib";
import { PolicyStatement } from "aws-cdk-lib/aws-iam";
import { Code, Function, LayerVersion, Runtime } from "aws-cdk-lib/aws-lambda";

const app = new App();
const stack = new Stack(app, "Payments", { env: { account: "111122223333", region: "eu-west-2" } });
const layer = "arn:aws:lambda:eu-west-2:111122223333:layer:secret-broadcaster-x86_64:1";
const pay = new Function(stack, "Pay", {
  runtime: Runtime.PYTHON_3_13,
  handler: "pay.handler",
  code: Code.fromAsset("pay"),
  layers: [LayerVersion.fromLayerVersionArn(stack, "SecretBroadcaster", layer)],
  environment: {
    SECRET_BROADCAST_TABLE: "prod-payments-changes",
    SECRET_BROADCAST_REPORTS_TABLE: "prod-payments-reports",
    SECRET_BROADCAST_ENV: "prod",
    SECRET_BROADCAST_DOMAIN: "payments",
    AWS_ENDPOINT_URL_SECRETS_MANAGER: "http://127.0.0.1:2773",
    POWERTOOLS_PARAMETERS_MAX_AGE: "0",
  },
});
const table = (name: string) => stack.formatArn({ service: "dynamodb", resource: "table", resourceName: name });
pay.addToRolePolicy(new PolicyStatement({ actions: ["dynamodb:Query"], resources: [table("prod-payments-changes")] }));
pay.addToRolePolicy(new PolicyStatement({ actions: ["dynamodb:PutItem"], resources: [table("prod-payments-reports")] }));
app.synth();
