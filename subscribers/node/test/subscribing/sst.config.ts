/// <reference path="./.sst/platform/config.d.ts" />
export default $config({
  app() {
    return { name: "payments", home: "local", providers: { aws: { region: "eu-west-2", version: "7.20.0" } } };
  },
  async run() {
    new sst.aws.Function("PaymentsApi", { handler: "src/pay.handler" });
  },
});
