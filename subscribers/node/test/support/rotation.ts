import type { EventBridgeClient } from "@aws-sdk/client-eventbridge";
import { DescribeSecretCommand, type SecretsManagerClient, UpdateSecretVersionStageCommand } from "@aws-sdk/client-secrets-manager";

import { hint } from "../../src/hint.js";

/** The last step of a rotation function: it makes a version current, and says so. */
export async function finishSecret(secrets: SecretsManagerClient, eventBridge: EventBridgeClient, arn: string, version: string): Promise<void> {
  const { Name: name = "", VersionIdsToStages: stages = {} } = await secrets.send(new DescribeSecretCommand({ SecretId: arn }));
  const current = Object.keys(stages).find((id) => stages[id]?.includes("AWSCURRENT"));
  await secrets.send(
    new UpdateSecretVersionStageCommand({ SecretId: arn, VersionStage: "AWSCURRENT", MoveToVersionId: version, RemoveFromVersionId: current }),
  );
  try {
    await hint(eventBridge, name);
  } catch (error) {
    console.warn("no hint was put", error); // AWS's own event follows: a lost hint costs seconds
  }
}
