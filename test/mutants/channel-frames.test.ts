/**
 * What the order and the tag of frames rest on: with a receiving stream that takes anything, the same checks that pass on the real
 * one fail. So they test what they say.
 */
import { expect, test } from 'vitest';
import { utf8 } from '../../shared/bytes.ts';
import { systemClock } from '../../shared/clock.ts';
import { createChannel } from '../../shared/crypto/channel.ts';
import { answerHandshake, type SessionKeys, startHandshake } from '../../shared/crypto/handshake.ts';
import type { PullStream } from '../../shared/crypto/secretstream.ts';
import { pad } from '../../shared/crypto/padding.ts';
import { createTransport } from '../../shared/wire/transport.ts';
import { handshakeFixture } from '../fixtures/crypto.ts';

const openKeys = async (): Promise<{ agent: SessionKeys; coordinator: SessionKeys }> => {
  const fixture = handshakeFixture();
  const started = startHandshake(fixture.agent);
  const answered = await answerHandshake(started.message, fixture.coordinator);
  const { keys: agent, message } = started.finish(answered.message, () => utf8('statement'));
  return { agent, coordinator: answered.finish(message).keys };
};
/** A stream that has forgotten to authenticate. */
const credulous: PullStream = {
  pull: () => ({ message: pad(utf8('anything')), tag: 'message' }),
  close: () => undefined,
};

/** Does the channel under these keys refuse a repeated and a changed frame? */
const refusesFaults = async (mutate: (keys: SessionKeys) => SessionKeys): Promise<boolean> => {
  const outcomes = await Promise.all(
    ['repeated', 'changed'].map(async (how) => {
      const keys = await openKeys();
      const agent = createChannel(keys.agent, 'agent', systemClock);
      const coordinator = createChannel(mutate(keys.coordinator), 'coordinator', systemClock);
      const frame = agent.seal(utf8('one'));
      coordinator.open(frame);
      const bad =
        how === 'repeated' ? frame : agent.seal(utf8('two')).map((byte, at) => (at === 40 ? byte ^ 1 : byte));
      try {
        coordinator.open(bad);
        return false;
      } catch {
        return true;
      }
    }),
  );
  return outcomes.every(Boolean);
};

test('a channel that does not authenticate is caught', async () => {
  expect(await refusesFaults((keys) => keys)).toBe(true);
  expect(await refusesFaults((keys) => ({ ...keys, receive: credulous }))).toBe(false);
});

test('a peer that goes on after its final frame is refused', async () => {
  const keys = await openKeys();
  const coordinator = createChannel(keys.coordinator, 'coordinator', systemClock);
  const direction = Buffer.alloc(9);
  direction[0] = 0x75;
  const final = keys.agent.send.push(pad(), 'final', direction);
  direction[8] = 1;
  const after = keys.agent.send.push(pad(utf8('more')), 'message', direction);
  expect(coordinator.open(final)).toBeUndefined();
  expect(() => coordinator.open(after)).toThrowError(expect.objectContaining({ code: 'protocol' }));
});

test('keys move forward by bytes and by time, and both sides follow', async () => {
  const keys = await openKeys();
  let nowMs = 0;
  const clock = { nowMs: () => nowMs, monotonicMs: () => nowMs };
  const tags: string[] = [];
  const watched: SessionKeys = {
    ...keys.agent,
    send: {
      ...keys.agent.send,
      push(message, tag, associatedData, room) {
        tags.push(tag);
        return keys.agent.send.push(message, tag, associatedData, room);
      },
    },
  };
  const agent = createChannel(watched, 'agent', clock, { bytes: 1_000, intervalMs: 60_000 });
  const coordinator = createChannel(keys.coordinator, 'coordinator', clock);
  for (let index = 0; index < 8; index += 1) {
    if (index === 5) nowMs += 60_000;
    expect(Buffer.from(coordinator.open(agent.seal(utf8(`m${index}`)))!).toString()).toBe(`m${index}`);
  }
  expect(tags).toEqual(['message', 'message', 'message', 'rekey', 'message', 'rekey', 'message', 'message']);
});

test('a coordinator’s transport that is given a new session before the end of the old one refuses it', async () => {
  const [first, second] = await Promise.all([openKeys(), openKeys()]);
  const ends: unknown[] = [];
  const transport = createTransport(
    { send: () => undefined, close: () => undefined },
    'coordinator',
    systemClock,
    {
      handshake: () => undefined,
      message: () => undefined,
      ended: (error) => void ends.push(error),
    },
  );
  transport.install(first.coordinator);
  expect(() => transport.install(second.coordinator)).toThrowError(
    expect.objectContaining({ code: 'protocol' }),
  );
  expect(second.coordinator.receive.pull(new Uint8Array(400), null)).toBeUndefined();
});
