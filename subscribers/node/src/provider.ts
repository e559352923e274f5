import { BaseProvider, DEFAULT_PROVIDERS, GetOptions } from "@aws-lambda-powertools/parameters/base";
import { ParameterNotFoundError, TransformParameterError } from "@aws-lambda-powertools/parameters/errors";
import type { SecretsProvider } from "@aws-lambda-powertools/parameters/secrets";
import type {
  GetMaybeUndefined,
  SecretsGetOptions,
  SecretsGetOutput,
  SecretsProviderOptions,
} from "@aws-lambda-powertools/parameters/secrets/types";
import {
  GetSecretValueCommand,
  type GetSecretValueCommandInput,
  SecretsManagerClient,
} from "@aws-sdk/client-secrets-manager";

import { isOther } from "./aws.js";
import type { Cache } from "./cache.js";
import type { Instant } from "./clock.js";
import { Pinned } from "./pinned.js";
import { cacheOf, sharedClient } from "./process.js";
import type { OnChange, Version } from "./state.js";
import type { TryOptions } from "./try.js";

/** What try takes beside its callback. */
export interface SecretsTryOptions extends Omit<TryOptions, "ttl"> {
  /** As in get. */
  maxAge?: number;
  /** As in get. */
  transform?: "json" | "binary";
}

/** What a read passes through Powertools' own get to _get, and what comes back with it. */
interface Passage {
  ttl: number;
  force: boolean;
  throwOnMissing: boolean;
  version?: Version;
}

const PASSAGE = Symbol("passage");

interface PassedOptions {
  [PASSAGE]?: Passage;
  throwOnMissing?: boolean;
  transform?: string;
  sdkOptions?: Partial<GetSecretValueCommandInput>;
}

/**
 * Powertools' SecretsProvider whose cache follows the change log. It stands on BaseProvider and not on SecretsProvider
 * itself: so a bundler's alias can put it in the place of Powertools' module without a loop. Its types are those of
 * SecretsProvider.
 */
const Base = BaseProvider as unknown as typeof SecretsProvider;

/**
 * Reads secrets like Powertools' SecretsProvider, with the same options, results and errors. A secret that the log says has
 * changed is fetched again before it is served; maxAge is the TTL that always applies: no value cached longer ago than so
 * many seconds is returned. Name, ARN and partial ARN are one secret, and what has been made of it by transform goes
 * together with it. A read of a VersionId, or of a VersionStage other than AWSCURRENT, and names outside
 * /bank/{env}/{domain}/ have the TTL only.
 */
export class InvalidatingSecretsProvider extends Base {
  private readonly cache: Cache;
  /** When this provider first read what: what another fetched before that is not served where the log is not followed. */
  private readonly own = new Map<string, Instant>();
  /** What a subclass's own _get made of a version, by transform. */
  private readonly overridden = new WeakMap<Version, Map<string, unknown>>();
  private readonly pinned = new Pinned();
  /** How often pinned was cleared: what was asked for before must not refill it. */
  private clears = 0;

  constructor(config?: SecretsProviderOptions) {
    const common = config?.awsSdkV3Client === undefined && config?.clientConfig === undefined ? sharedClient() : undefined;
    super({
      awsSdkV3ClientPrototype: SecretsManagerClient,
      ...(common === undefined ? (config ?? {}) : { awsSdkV3Client: common }),
    } as never);
    this.cache = cacheOf(this.client, isOwned(config));
  }

  override async get<
    ExplicitUserProvidedType = undefined,
    InferredFromOptionsType extends SecretsGetOptions | undefined = SecretsGetOptions,
  >(
    name: string,
    options?: NonNullable<InferredFromOptionsType & SecretsGetOptions>,
  ): Promise<
    GetMaybeUndefined<SecretsGetOutput<ExplicitUserProvidedType, InferredFromOptionsType>, InferredFromOptionsType>
  > {
    type Output = GetMaybeUndefined<
      SecretsGetOutput<ExplicitUserProvidedType, InferredFromOptionsType>,
      InferredFromOptionsType
    >;
    if (options?.sdkOptions && isPinned(options.sdkOptions)) {
      return (await this.getPinned(name, options)) as Output;
    }
    const ttl = ttlOf(options);
    const transform = options?.transform;
    if (options?.forceFetch !== true) {
      const version = this.cache.peek(name, ttl, this.own);
      if (version !== undefined && version.value !== "") {
        if (transform === undefined && !this.isOverridden) return version.value as Output;
        const made = this.madeOf(version).get(memoKey(transform, name));
        if (made !== undefined) return made as Output;
      }
      if (this.isOverridden) {
        const kept = this.pinned.get(JSON.stringify([name, transform]));
        if (kept !== undefined) return kept as Output;
      }
    }
    const passage: Passage = {
      ttl,
      force: options?.forceFetch === true,
      throwOnMissing: options?.throwOnMissing === true,
    };
    return (await this.through(name, passage, options)) as Output;
  }

  private async through(name: string, passage: Passage, options?: SecretsGetOptions): Promise<unknown> {
    const value = await this.uncached(name, { ...options, [PASSAGE]: passage });
    if (value === undefined || (options?.transform === undefined && !this.isOverridden)) return value;
    const transform = options?.transform;
    if (passage.version !== undefined) this.madeOf(passage.version).set(memoKey(transform, name), value);
    else this.pinned.set(JSON.stringify([name, transform]), value, passage.ttl / 1000); // its _get asked somebody else
    return value;
  }

  private get isOverridden(): boolean {
    return this._get !== InvalidatingSecretsProvider.prototype._get;
  }

  /** What has been made of a version: by transforms for all providers, by a subclass's own _get for this one. */
  private madeOf(version: Version): Map<string, unknown> {
    if (!this.isOverridden) return version.transforms;
    let made = this.overridden.get(version);
    if (made === undefined) this.overridden.set(version, (made = new Map()));
    return made;
  }

  /** Lets Powertools' own get do with a value what it does: transforms, errors, what is missing. It is not to cache it. */
  private async uncached(name: string, options: PassedOptions): Promise<unknown> {
    try {
      return await super.get(name, { ...options, maxAge: 0, forceFetch: true } as never);
    } catch (error) {
      if (!(error instanceof TransformParameterError)) throw error;
      throw new TransformParameterError(options.transform as string, "the value is not in that format"); // Powertools' text quotes it
    }
  }

  /**
   * A version that was named, or a label that the log does not speak of: the TTL only, as with Powertools, but each under a
   * key of its own.
   */
  private async getPinned(name: string, options: NonNullable<SecretsGetOptions>): Promise<unknown> {
    const { VersionId, VersionStage } = options.sdkOptions ?? {};
    const { maxAge, transform, forceFetch } = new GetOptions(options);
    const key = JSON.stringify([name, VersionId ?? "", VersionStage ?? "", transform ?? ""]);
    const kept = forceFetch ? undefined : this.pinned.get(key);
    if (kept !== undefined) return kept;
    const { clears } = this;
    const value = await this.uncached(name, options);
    if (value !== undefined && clears === this.clears) this.pinned.set(key, value, maxAge as number);
    return value;
  }

  /** Fetches what Powertools' get asks for. */
  protected override async _get(
    name: string,
    options?: NonNullable<SecretsGetOptions>,
  ): Promise<string | Uint8Array | undefined> {
    const { [PASSAGE]: passage, throwOnMissing, sdkOptions } = (options ?? {}) as PassedOptions;
    try {
      mustBeName(name, "get");
      if (passage === undefined) {
        const got = await this.client.send(new GetSecretValueCommand({ ...sdkOptions, SecretId: name }));
        return got.SecretString || got.SecretBinary;
      }
      passage.version ??= await this.cache.get(name, { ttl: passage.ttl, force: passage.force, own: this.own });
      const { value } = passage.version;
      return value === "" ? undefined : value;
    } catch (error) {
      if (throwOnMissing === true && !isName(name)) throw new ParameterNotFoundError((error as Error).message);
      if (throwOnMissing === true && (error as Error).name === "ResourceNotFoundException") return undefined;
      throw isOther(error) ? error.original : error;
    }
  }

  /** Several secrets at once are not supported, as with Powertools. */
  override async getMultiple(path: string, _options?: unknown): Promise<void> {
    await super.getMultiple(path);
  }

  protected override _getMultiple(_path: string, _options?: unknown): Promise<Record<string, unknown> | undefined> {
    throw new Error("Method not implemented.");
  }

  /** Evicts every secret, also for fetches on their way: they do not refill what was cleared. */
  override clearCache(): void {
    super.clearCache();
    this.pinned.clear();
    this.own.clear();
    this.clears++;
    this.cache.clear();
  }

  /**
   * Has f told each time another version of a secret than before has been fetched, before the read that caused it returns:
   * it drops what was made with the old one, such as a connection pool. A read waits for f two seconds at the most, an ack
   * ten. If f throws or takes longer, the ack and the report say failed; the new version is served all the same. It is not
   * called for the first version read.
   */
  onChange(name: string, f: OnChange): void {
    mustBeName(name, "onChange");
    if (typeof f !== "function") throw new TypeError(`onChange of ${name}: the callback must be a function, not ${typeof f}`);
    this.cache.onChange(name, f);
  }

  /**
   * Calls use with the current value. If use throws a rejection, marked with rejected() or named by rejectedIf, the log and
   * AWSCURRENT are read at once, whatever the age of what is cached, and use is called again if that brings another
   * version; and then, with pending, AWSPENDING's.
   */
  async try<R, Value = string>(
    name: string,
    use: (value: Value, version: Version) => R | Promise<R>,
    options: SecretsTryOptions = {},
  ): Promise<R> {
    mustBeName(name, "try");
    const ttl = ttlOf(options);
    const { maxAge: _maxAge, transform, ...rest } = options;
    return this.cache.try(
      name,
      async (version) => {
        const passage: Passage = { ttl, force: false, throwOnMissing: false, version };
        const value = await this.through(name, passage, transform === undefined ? undefined : ({ transform } as never));
        return use(value as Value, version);
      },
      { ...rest, ttl },
    );
  }
}

/** Whether nobody else uses the connections of the client that a provider is made with. */
const isOwned = (config?: SecretsProviderOptions): boolean =>
  config?.awsSdkV3Client === undefined && config?.clientConfig?.requestHandler === undefined;

/** In milliseconds, from maxAge or as Powertools finds it: null is 0 there, and NaN never passes. */
function ttlOf(options?: { maxAge?: number }): number {
  const maxAge = options?.maxAge === undefined ? (new GetOptions().maxAge as number) : options.maxAge;
  return Number.isNaN(maxAge) ? Infinity : maxAge * 1000;
}

const isName = (name: unknown): boolean => typeof name === "string" && name !== "";

function mustBeName(name: unknown, what: string): void {
  if (isName(name)) return;
  const found = name === "" ? "an empty string" : name === null ? "null" : typeof name;
  throw new TypeError(`${what} needs the secret's name or ARN, not ${found}: look where the name comes from, such as an environment variable`);
}

function isPinned({ VersionId, VersionStage }: Partial<GetSecretValueCommandInput>): boolean {
  return VersionId !== undefined || (VersionStage !== undefined && VersionStage !== "AWSCURRENT");
}

/** Powertools' auto looks at what the name ends in. */
function memoKey(transform: string | undefined, name: string): string {
  const kind = transform?.toLowerCase() ?? "";
  return kind === "auto" ? `auto:${name}` : kind;
}

/** Reads a secret with the default provider, as Powertools' getSecret does. */
export function getSecret<
  ExplicitUserProvidedType = undefined,
  InferredFromOptionsType extends SecretsGetOptions | undefined = SecretsGetOptions,
>(
  name: string,
  options?: NonNullable<InferredFromOptionsType & SecretsGetOptions>,
): Promise<
  GetMaybeUndefined<SecretsGetOutput<ExplicitUserProvidedType, InferredFromOptionsType>, InferredFromOptionsType>
> {
  return defaultProvider().get<ExplicitUserProvidedType, InferredFromOptionsType>(name, options);
}

/** The provider behind getSecret, to register onChange with or to try. */
export function defaultProvider(): InvalidatingSecretsProvider {
  const providers = DEFAULT_PROVIDERS as Record<string, BaseProvider>;
  if (!(providers["secrets"] instanceof InvalidatingSecretsProvider)) {
    providers["secrets"] = new InvalidatingSecretsProvider();
  }
  return providers["secrets"] as InvalidatingSecretsProvider;
}

/** Clears the caches of Powertools' default providers, this one among them. */
export function clearCaches(): void {
  for (const provider of Object.values(DEFAULT_PROVIDERS as Record<string, BaseProvider>)) provider.clearCache();
}
