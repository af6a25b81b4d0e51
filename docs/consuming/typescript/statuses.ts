/**
 * Prints a line for each of Bluetick's statuses as they arrive: a consumer to copy, on kafkajs.
 *
 * A real service does its work where this one prints. The work must be safe to repeat: after a
 * crash before the commit, the last batch is read again.
 */
import { parseArgs } from "node:util";
import { decompress } from "fzstd";
import kafkajs, { type Consumer, type EachBatchPayload, type Kafka, type KafkaMessage } from "kafkajs";
import type { StatusRecord } from "./bluetick";

const USAGE = "usage: statuses BOOTSTRAP NAMESPACE --group GROUP [--since 2026-11-22T04:12:05Z]";
const BATCH = 500;
const WINDOW = 100_000;
const NONE = "-1";

// Bluetick's records are compressed with zstd, which kafkajs does not read by itself.
kafkajs.CompressionCodecs[kafkajs.CompressionTypes.ZSTD] = () => ({
  compress: () => Promise.reject(new Error("not needed")),
  decompress: async (data: Buffer) => Buffer.from(decompress(data)),
});

/** An error that ends the program, in one sentence. */
class StatusesError extends Error {}

/**
 * A bounded number of the latest ids.
 *
 * Needed only if processing a record twice does harm: a processed record whose commit failed is
 * read again. To be safe across restarts too, store `ce_id` with the effect, with a unique index.
 */
class Window {
  private readonly ids = new Set<string>();

  /** Adds an id; false if it is known. */
  add(id: string): boolean {
    if (this.ids.has(id)) return false;
    this.ids.add(id);
    if (this.ids.size > WINDOW) this.ids.delete(this.ids.values().next().value as string);
    return true;
  }
}

/**
 * Returns the fact's id, and a line: key, status, verdict, time, and `live` or `replay`.
 *
 * It reads only the fields that it needs and passes unknown values on: new ones will be added.
 */
function read(topic: string, partition: number, message: KafkaMessage): [string, string] {
  try {
    const id = message.headers?.ce_id;
    const status: StatusRecord = JSON.parse(String(message.value));
    const { message_key, verdict, occurred_at, replay } = status;
    const words = [message_key, status.status, verdict];
    if (id === undefined || words.some((one) => typeof one !== "string")) {
      throw new TypeError("a field is missing");
    }
    const time = occurred_at === undefined ? "-" : new Date(occurred_at).toISOString();
    return [String(id), [...words, time, replay === undefined ? "live" : "replay"].join("\t")];
  } catch (error) {
    const place = `${topic}[${partition}] offset ${message.offset}`;
    throw new StatusesError(`${place} is not a status (${error}); find out who wrote it`);
  }
}

/**
 * Returns where a new group begins in each partition, by the time `since`.
 *
 * kafkajs silently begins again if the group's offset was deleted, so that is checked here.
 */
async function begins(
  kafka: Kafka,
  topic: string,
  group: string,
  since: number | undefined,
): Promise<Map<number, bigint>> {
  const admin = kafka.admin();
  await admin.connect();
  try {
    if (!(await admin.listTopics()).includes(topic)) {
      throw new StatusesError(`the topic ${topic} does not exist; is the namespace right?`);
    }
    const [{ partitions }] = await admin.fetchOffsets({ groupId: group, topics: [topic] });
    const ends = await admin.fetchTopicOffsets(topic);
    const oldest = new Map(ends.map((one) => [one.partition, BigInt(one.low)]));
    for (const { partition, offset } of partitions) {
      if (offset !== NONE && BigInt(offset) < (oldest.get(partition) ?? 0n)) {
        throw new StatusesError(
          `the group ${group} is at an offset of the topic that was deleted; ` +
            "move its offsets by hand to accept the gap",
        );
      }
    }
    if (since === undefined) return new Map();
    const found = await admin.fetchTopicOffsetsByTimestamp(topic, since);
    const begun = new Set(partitions.filter((one) => one.offset !== NONE).map((p) => p.partition));
    const fresh = found.filter((one) => !begun.has(one.partition));
    return new Map(fresh.map((one) => [one.partition, BigInt(one.offset)]));
  } finally {
    await admin.disconnect();
  }
}

/** Resolves once a text has left this process; without waiting, a kill would lose it. */
function written(text: string): Promise<void> {
  return new Promise((done, fail) =>
    process.stdout.write(text, (error) => (error ? fail(error) : done())),
  );
}

/** Prints the records of a batch, and commits after each 500. */
async function print(
  consumer: Consumer,
  window: Window,
  from: Map<number, bigint>,
  { batch, isRunning, isStale, heartbeat, resolveOffset }: EachBatchPayload,
): Promise<void> {
  const { topic, partition, messages } = batch;
  for (let start = 0; start < messages.length && isRunning() && !isStale(); start += BATCH) {
    const part = messages.slice(start, start + BATCH);
    const lines: string[] = [];
    for (const message of part) {
      if (BigInt(message.offset) < (from.get(partition) ?? 0n)) continue;
      const [id, line] = read(topic, partition, message);
      if (window.add(id)) lines.push(`${line}\n`);
    }
    await written(lines.join("")); // before the commit
    const last = part[part.length - 1].offset;
    resolveOffset(last);
    await consumer.commitOffsets([{ topic, partition, offset: String(BigInt(last) + 1n) }]);
    await heartbeat();
  }
}

/** Follows the topic until SIGTERM or Ctrl-C, or an error. */
async function follow(kafka: Kafka, topic: string, group: string, since?: number): Promise<void> {
  const from = await begins(kafka, topic, group, since);
  const consumer = kafka.consumer({
    groupId: group,
    sessionTimeout: 10_000, // how long the group waits for a member that was killed
    readUncommitted: false, // the default: aborted records are not read
  });
  const window = new Window();
  let failure: unknown;
  await consumer.connect();
  await consumer.subscribe({ topics: [topic], fromBeginning: true }); // of a new group
  await new Promise<void>((stop) => {
    process.once("SIGTERM", () => stop());
    process.once("SIGINT", () => stop());
    const run = consumer.run({
      autoCommit: false, // the default commits records that are not processed
      eachBatchAutoResolve: false,
      eachBatch: async (payload) => {
        try {
          if (failure === undefined) await print(consumer, window, from, payload);
        } catch (error) {
          if (!(error instanceof StatusesError)) throw error; // kafkajs joins the group again
          failure = error;
          stop();
        }
      },
    });
    const fail = (error: unknown) => {
      failure ??= error;
      stop();
    };
    run.catch(fail);
    consumer.on(consumer.events.CRASH, ({ payload }) => payload.restart || fail(payload.error));
  });
  await consumer.disconnect();
  if (failure !== undefined) throw failure;
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { group: { type: "string" }, since: { type: "string" } },
  });
  const [bootstrap, namespace] = positionals;
  const since = values.since === undefined ? undefined : Date.parse(values.since);
  if (positionals.length !== 2 || values.group === undefined || Number.isNaN(since)) {
    throw new StatusesError(USAGE);
  }
  const kafka = new kafkajs.Kafka({
    clientId: "statuses",
    brokers: bootstrap.split(","),
    logLevel: kafkajs.logLevel.NOTHING,
    retry: { retries: 5 },
  });
  try {
    await follow(kafka, `${namespace}.statuses`, values.group, since);
  } catch (error) {
    if (error instanceof StatusesError) throw error;
    throw new StatusesError(`Kafka at ${bootstrap}: ${error}; is it running?`);
  }
}

process.env.KAFKAJS_NO_PARTITIONER_WARNING = "1";
main().catch((error) => {
  process.stderr.write(`statuses: ${error instanceof StatusesError ? error.message : error}\n`);
  process.exit(1);
});
