/** The runners of both sides over a line that lies, loses and repeats, and programs that end in the middle. */
import { afterEach, describe, expect, it } from 'vitest';
import { METHODS } from '../../../shared/wire/session.ts';
import type { Reply } from '../../../shared/wire/peer.ts';
import { QflError, toQflError } from '../../../shared/errors.ts';
import { RoundId } from '../../../shared/ids.ts';
import { packPlan, parsePlan } from '../../../shared/rounds/plan.ts';
import { LABELS } from '../../../shared/rounds/fields.ts';
import { toBase64 } from '../../../shared/bytes.ts';
import { copyOf, inputOf, type LocalFederation, startLocalFederation } from './federation.ts';

let federation: LocalFederation;
afterEach(() => federation.close());

const never = new AbortController().signal;
const sumOf = (...hospitals: readonly number[]): number[] =>
  [...inputOf(0)].map((_, word) => hospitals.reduce((sum, at) => sum + inputOf(at)[word]!, 0));
const begin = (rest = {}): Promise<RoundId> => federation.rounds.start(federation.request(rest), never);
const opened = async (rest = {}) => {
  const id = await begin(rest);
  const { sum, survivors } = await federation.rounds.sum(id);
  return { id, sum: [...sum], survivors };
};
const endedAs = async (id: RoundId) => {
  await federation.rounds.sum(id).catch(() => undefined);
  return federation.rounds.show(id);
};

describe('a round between programs', () => {
  it('gives the sum, charges each hospital once, and leaves nothing of it behind', async () => {
    federation = await startLocalFederation(4);
    const { id, sum, survivors } = await opened();
    expect(sum).toEqual(sumOf(0, 1, 2, 3));
    expect(survivors).toHaveLength(4);
    for (const { charges, refunds } of federation.hospitals)
      expect([charges.length, refunds]).toEqual([1, []]);
    // Receipts come after the sum.
    await expect
      .poll(async () => {
        const kept: string[] = [];
        for (const { store } of federation.hospitals)
          for await (const { key, value } of store.list({ prefix: 'round' }))
            if (/Secret|chunk/i.test(key + Buffer.from(value).toString())) kept.push(key);
        return kept;
      })
      .toEqual([]);
    expect((await federation.rounds.show(id)).phase).toBe('done');
  });

  it('uses the keys of an epoch for further rounds, each with a number of its own', async () => {
    federation = await startLocalFederation(3);
    let offers = 0;
    federation.line.toSite = (_, method, message) => {
      if (method === METHODS.epochOffer) offers += 1;
      return message;
    };
    const first = await opened();
    const second = await opened();
    expect(offers).toBe(3);
    expect(second.sum).toEqual(first.sum);
    expect(second.id).not.toBe(first.id);
  });

  it('with other hospitals leaves the keys of the first where they are', async () => {
    federation = await startLocalFederation(4);
    const names = federation.hospitals.map(({ site }) => site);
    let offers = 0;
    federation.line.toSite = (_, method, message) => {
      if (method === METHODS.epochOffer) offers += 1;
      return message;
    };
    const [left, right] = [names.slice(0, 3), names.slice(1)];
    const begun = [await begin({ sites: left }), await begin({ sites: right }), await begin({ sites: left })];
    const sums = await Promise.all(begun.map((id) => federation.rounds.sum(id)));
    expect(sums.map(({ sum }) => [...sum])).toEqual([sumOf(0, 1, 2), sumOf(1, 2, 3), sumOf(0, 1, 2)]);
    expect(offers).toBe(6);
    for (const id of begun) expect((await federation.rounds.show(id)).losses).toEqual([]);
  });

  it('makes other keys after one in which a hospital had lost its own', async () => {
    federation = await startLocalFederation(4);
    await opened();
    const [hospital] = federation.hospitals;
    for await (const key of hospital!.store.keys({ prefix: 'round-epochs/' }))
      await hospital!.store.write([{ type: 'del', key }]);
    const second = await opened();
    expect(second.sum).toEqual(sumOf(1, 2, 3));
    const third = await opened();
    expect(third.sum).toEqual(sumOf(0, 1, 2, 3));
  });

  it('that an earlier program began in other words is over at both sides, and others go on', async () => {
    federation = await startLocalFederation(3);
    const [hospital] = federation.hospitals;
    federation.line.toSite = (_, method, message) => {
      if (method === METHODS.roundSurvivors) throw new QflError('cut');
      return message;
    };
    const id = await begin();
    await expect
      .poll(async () => (await federation.rounds.show(id)).phase, { timeout: 20_000 })
      .toBe('confirming');
    const inOtherWords = (value: Uint8Array): Buffer => {
      const { plan, ...rest } = JSON.parse(Buffer.from(value).toString()) as { plan: string };
      const words = Buffer.from(plan, 'base64').toString().replace('"mechanisms"', '"mechanism"');
      return Buffer.from(JSON.stringify({ ...rest, plan: Buffer.from(words).toString('base64') }));
    };
    for (const store of [hospital!.store, federation.store])
      for await (const { key, value } of store.list({ prefix: 'round' }))
        if (/"plan":"[A-Za-z0-9+/]{200}/.test(Buffer.from(value).toString()))
          await store.write([{ type: 'put', key, value: inOtherWords(value) }]);
    delete federation.line.toSite;
    await federation.restart(hospital!);
    await federation.restartCoordinator();
    await expect(federation.rounds.show(id)).rejects.toMatchObject({ code: 'not_found' });
    const next = await opened();
    expect(next.sum).toEqual(sumOf(0, 1, 2));
  });

  it('of a name that was given before is that round, and charges nothing more', async () => {
    federation = await startLocalFederation(3);
    const id = RoundId.parse('ab'.repeat(16));
    const first = await opened({ id });
    const again = await opened({ id });
    expect(again).toEqual(first);
    expect(first.id).toBe(id);
    for (const { charges } of federation.hospitals) expect(charges).toHaveLength(1);
  });

  it('goes on when every message is lost once', async () => {
    federation = await startLocalFederation(4);
    const lost = new Set<string>();
    federation.line.toSite = (site, method, message) => {
      const name = `${site} ${method}`;
      if (lost.has(name) || method === METHODS.roundAborted) return message;
      lost.add(name);
      throw new QflError('timeout');
    };
    const { sum } = await opened({ silenceMs: 20_000 });
    expect(sum).toEqual(sumOf(0, 1, 2, 3));
    for (const { charges } of federation.hospitals) expect(charges).toHaveLength(1);
  });

  it.each([METHODS.roundShares, METHODS.roundMembers, METHODS.roundSurvivors, METHODS.roundReveal])(
    'goes on when a hospital ends and starts again before %s',
    async (method) => {
      federation = await startLocalFederation(4);
      const [hospital] = federation.hospitals;
      let restarted: Promise<void> | undefined;
      federation.line.toSite = (site, at, message) => {
        if (site !== hospital!.site || at !== method || restarted !== undefined) return message;
        restarted = federation.restart(hospital!);
        throw new QflError('cut');
      };
      const { sum } = await opened({ silenceMs: 20_000 });
      await restarted;
      expect(sum).toEqual(sumOf(0, 1, 2, 3));
      // What was charged before it ended stands, and is not charged again.
      expect(hospital!.charges).toHaveLength(1);
    },
  );

  it.each([METHODS.roundShares, METHODS.roundMembers, METHODS.roundSurvivors, METHODS.roundReveal])(
    'goes on when the coordinator ends and starts again at %s',
    async (method) => {
      federation = await startLocalFederation(4);
      let restarted: Promise<void> | undefined;
      federation.line.toSite = (_, at, message) => {
        if (at === method) restarted ??= federation.restartCoordinator();
        return message;
      };
      const id = await begin({ silenceMs: 20_000 });
      await expect.poll(() => restarted !== undefined).toBe(true);
      await restarted;
      const { sum } = await federation.rounds.sum(id);
      expect((await federation.rounds.show(id)).losses).toEqual([]);
      expect([...sum]).toEqual(sumOf(0, 1, 2, 3));
      for (const { charges } of federation.hospitals) expect(charges).toHaveLength(1);
    },
  );

  it('opens without a hospital that is gone after it shared its secrets', async () => {
    federation = await startLocalFederation(4);
    const gone = federation.hospitals[2]!;
    federation.line.toSite = (site, method, message) => {
      if (site === gone.site && method === METHODS.roundMembers) gone.online = false;
      return message;
    };
    federation.line.toCoordinator = (site, _, message) => {
      if (site === gone.site) throw new QflError('not_connected');
      return message;
    };
    const { sum, survivors } = await opened();
    expect(sum).toEqual(sumOf(0, 1, 3));
    expect(survivors).not.toContain(gone.site);
  });
});

describe('a hospital refuses', () => {
  const refusalOf = async (rest = {}): Promise<string> => {
    const { losses, why } = await endedAs(await begin(rest));
    return JSON.stringify([losses, why]);
  };

  it('a sum of fewer sites than it takes part in', async () => {
    federation = await startLocalFederation(4);
    federation.policy.value = { ...federation.policy.value, minCohort: 4 };
    expect(await refusalOf({ minCohort: 3 })).toMatch(/forbidden.*sums of 3 sites/);
    for (const { charges } of federation.hospitals) expect(charges).toEqual([]);
  });

  it('another price than its work has, before it charges anything', async () => {
    federation = await startLocalFederation(3);
    const privacy = { ...federation.request().privacy, unit: 'site' as const };
    expect(await refusalOf({ privacy })).toMatch(/protects whole sites/);
    federation.policy.value = { ...federation.policy.value, allowsSiteUnit: true };
    expect(await refusalOf({ privacy })).toMatch(/another price/);
    for (const { charges } of federation.hospitals) expect(charges).toEqual([]);
  });

  it('work that it does not know', async () => {
    federation = await startLocalFederation(3);
    expect(await refusalOf({ work: { kind: 'mine_coins', settings: {} } })).toMatch(
      /knows no work of kind mine_coins/,
    );
  });

  it('a plan that another than the coordinator signed, and one that was carried out before', async () => {
    federation = await startLocalFederation(3);
    let sent: Reply | undefined;
    federation.line.toSite = (_, method, message) => {
      if (method === METHODS.roundPlan) sent ??= message;
      return message;
    };
    await opened();
    const [hospital] = federation.hospitals;
    const answer = async (message: Reply): Promise<string> => {
      const handler = hospital!.rounds.handlers[METHODS.roundPlan];
      if (handler?.kind !== 'plain') throw new Error('no such call');
      return handler.answer({ header: message.header, payload: message.payload!, signal: never }).then(
        () => 'taken',
        (error: unknown) => toQflError(error).code,
      );
    };
    await expect.poll(() => answer(sent!)).toBe('expired');
    const { plan } = parsePlan(sent!.payload!);
    const again = packPlan({ ...plan, round: RoundId.parse('ee'.repeat(16)) });
    const signature = (identity: typeof federation.coordinator) =>
      toBase64(identity.sign(LABELS.plan, again.hash));
    // The same number of the epoch under another name.
    expect(
      await answer({ header: { signature: signature(federation.coordinator) }, payload: again.bytes }),
    ).toBe('conflict');
    expect(
      await answer({
        header: { signature: signature(federation.hospitals[1]!.identity) },
        payload: again.bytes,
      }),
    ).toBe('bad_signature');
  });

  it('sites that it has not compared by voice, where it is told to', async () => {
    federation = await startLocalFederation(3);
    federation.policy.value = { ...federation.policy.value, onlyCompared: true };
    await expect(begin()).rejects.toThrow(/whose fingerprint it has compared by voice/);
    for (const { site } of federation.hospitals) federation.compared.add(site);
    expect((await opened()).sum).toEqual(sumOf(0, 1, 2));
  });
});

describe('a home that was put back to before a round', () => {
  const replayed = async (restores: number): Promise<[string, number, number]> => {
    federation = await startLocalFederation(3);
    await opened();
    const hospital = federation.hospitals[0]!;
    const before = await copyOf(hospital.store);
    let sent: Reply | undefined;
    federation.line.toSite = (site, method, message) => {
      if (method === METHODS.roundPlan && site === hospital.site) sent = message;
      return message;
    };
    await opened();
    hospital.store = before;
    hospital.restores = restores;
    await federation.restart(hospital);
    const handler = hospital.rounds.handlers[METHODS.roundPlan];
    if (handler?.kind !== 'plain') throw new Error('no such call');
    const code = await handler.answer({ header: sent!.header, payload: sent!.payload!, signal: never }).then(
      () => 'taken',
      (error: unknown) => toQflError(error).code,
    );
    return [code, hospital.charges.length, hospital.refunds.length];
  };

  it('makes no second vector for one charge: its ledger knows better', async () => {
    expect(await replayed(0)).toEqual(['expired', 2, 0]);
  });

  it('by the command for it has forgotten all keys of rounds', async () => {
    expect(await replayed(1)).toEqual(['unknown_key', 2, 0]);
    federation.line.toSite = (_, __, message) => message;
  });
});

describe('a round that is not masked', () => {
  const open = { masked: false } as const;

  it('is refused, unless a hospital allows it', async () => {
    federation = await startLocalFederation(3);
    const { losses } = await endedAs(await begin({ masked: false }));
    expect(JSON.stringify(losses)).toMatch(/shows the coordinator the vector of each site/);
    for (const { charges } of federation.hospitals) expect(charges).toEqual([]);
  });

  it('may have a robust rule, which one corrupt vector does not carry away', async () => {
    federation = await startLocalFederation(5);
    federation.policy.value = { ...federation.policy.value, allowsUnmasked: true };
    const results: Record<string, number[]> = {};
    for (const rule of ['sum', 'median', 'trimmed_mean', 'krum'] as const)
      results[rule] = (await opened({ ...open, rule })).sum;
    expect(results['sum']).toEqual(sumOf(0, 1, 2, 3, 4));
    // The middle one of five, five times; the mean of what is left without two at each end is the same one.
    const middle = sumOf(2, 2, 2, 2, 2);
    expect(results['median']).toEqual(middle);
    expect(results['trimmed_mean']).toEqual(middle);
    expect([0, 1, 2, 3, 4].map((at) => sumOf(at, at, at, at, at))).toContainEqual(results['krum']);
  });

  it('with masks has none, and says why', async () => {
    federation = await startLocalFederation(3);
    await expect(begin({ rule: 'median' })).rejects.toThrow(/looks at single vectors/);
  });
});

describe('an epoch', () => {
  const bent = (method: string, bend: (header: Record<string, unknown>) => Record<string, unknown>) => {
    federation.line.toSite = (site, at, message) =>
      at === method && site === federation.hospitals[0]!.site
        ? { ...message, header: bend(message.header as Record<string, unknown>) }
        : message;
  };

  it('with a site that is in no directory is refused', async () => {
    federation = await startLocalFederation(3);
    bent(METHODS.epochOffer, (header) => ({
      ...header,
      sites: [...(header['sites'] as string[]), 'invented'],
    }));
    await expect(begin()).rejects.toThrow(/no directory that enough hospitals have confirmed/);
  });

  it('with another key in a site’s name is refused', async () => {
    federation = await startLocalFederation(3);
    bent(METHODS.epochPairings, (header) => {
      const offers = structuredClone(header['offers']) as { offer: { xwing: string } }[];
      offers[1]!.offer.xwing = offers[2]!.offer.xwing;
      return { ...header, offers };
    });
    await expect(begin()).rejects.toThrow(/is not signed by it/);
  });

  it('with other keys between two sites than they made is refused', async () => {
    federation = await startLocalFederation(3);
    bent(METHODS.epochNonce, (header) => {
      const pairings = structuredClone(header['pairings']) as { ciphertext: string }[];
      [pairings[0]!.ciphertext, pairings[1]!.ciphertext] = [pairings[1]!.ciphertext, pairings[0]!.ciphertext];
      return { ...header, pairings };
    });
    await expect(begin()).rejects.toThrow(/is not signed by it/);
  });

  it('with a nonce chosen later than the others were seen is refused', async () => {
    federation = await startLocalFederation(3);
    bent(METHODS.epochGraph, (header) => {
      const nonces = [...(header['nonces'] as string[])];
      nonces[2] = toBase64(Buffer.alloc(32, 1));
      return { ...header, nonces };
    });
    await expect(begin()).rejects.toThrow(/another nonce than it was bound to/);
  });
});

describe('a vector on its way', () => {
  it('that is changed, or whose hashes are, ends the hospital’s part and not the round', async () => {
    federation = await startLocalFederation(4);
    federation.line.toCoordinator = (site, method, message) =>
      site === federation.hospitals[1]!.site && method === METHODS.roundChunk
        ? { ...message, payload: Uint8Array.from(message.payload!, (byte) => byte ^ 1) }
        : message;
    const { sum, survivors } = await opened();
    expect(survivors).toHaveLength(3);
    expect(sum).toEqual(sumOf(0, 2, 3));
  });
});
