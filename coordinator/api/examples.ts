/** Bodies and answers of the API document, taken from a running federation and shortened. A test holds each against the schema of its route. */
import type { Examples } from '../../shared/http/openapi.ts';

const PLAN = {
  queryId: 'f765f7e0e6ff410dc3f020ce8e0baf07',
  model: 'extractive-local',
  sender: 'north-hospital',
  priority: 8,
  sizeBucketBytes: 256,
  site: 'north-hospital',
  commit: 'immediate',
  strategy: 'balanced',
  solver: 'flow',
  seed: 6,
  cost: 35,
  costParts: {
    latency: 50,
    preference: -15,
    load: 0,
    money: 0,
    privacy: 0,
    coupling: 0,
    waiting: 0,
  },
  certificate: 'prices',
  tokens: 576,
  bound: 35,
  independentCost: 35,
  batch: 1,
  couplings: [],
  candidates: [
    {
      site: 'north-hospital',
      verdict: 'chosen',
      latencyCost: 50,
      preferenceCost: -15,
      moneyCost: 0,
      privacyCost: 0,
      placePrice: 0,
      predictedMeanMs: null,
      predictedQ95Ms: null,
      busySlots: 0,
      slots: 8,
      busyTokens: null,
      tokensMax: null,
      telemetryAgeMs: 1366.31,
    },
  ],
  exclusions: [],
  arrivedMs: 1795745488719,
  committedMs: 1795745488720,
  waitedMs: 1,
  planMicros: 938,
  solveMicros: 296,
  cpuMicros: 0,
};

const ROUND = {
  id: '7274322a63cba9495d55d5dc0941ba6c',
  task: '01a21b462e9c4b37510f49c9659e37a4',
  work: 'gradient',
  phase: 'done',
  sites: ['hill-university', 'lakeside-clinic', 'north-hospital'],
  words: 8,
  masked: true,
  rule: 'sum',
  privacy: {
    unit: 'patient',
    mechanisms: [
      {
        kind: 'distributed_gaussian',
        sensitivitySquared: '1049603',
        shares: 2,
        sigmaSquared: ['14883311', '1'],
        words: 8,
      },
    ],
  },
  rho: 0.01763053,
  tolerance: {
    sites: 3,
    threshold: 2,
    minCohort: 3,
    dropsTolerated: 0,
    corruptTolerated: 0,
    text: '3 sites, of which any 2 can open what was hidden; a sum of fewer than 3 is never opened.',
  },
  joined: 3,
  members: 3,
  receivedBytes: 96,
  expectedBytes: 96,
  survivors: ['hill-university', 'lakeside-clinic', 'north-hospital'],
  losses: [],
  startedMs: 1795753917079,
  endedMs: 1795753917656,
  sumHash: 'df52707af7ca3ac4d699a7cbffdecc0cd158ae7acc0e9e4a77ad3723563dd577',
  why: null,
};
const TRAINING = {
  id: '01a21b462e9c4b37510f49c9659e37a4',
  kind: 'train',
  state: 'queued',
  version: 1,
  priority: 4,
  dependsOn: [],
  resources: { slots: 1, tokens: null, microEpsilon: null },
  createdMs: 1795753914000,
  queuedMs: 1795753914000,
  notBeforeMs: null,
  startedMs: null,
  endedMs: null,
  deadlineMs: null,
  timeoutMs: 86400000,
  attempts: 0,
  attemptsMax: 1,
  delivery: 'at_least_once',
  site: null,
  reference: null,
  createdBy: 'operator',
  failure: null,
  progress: null,
  result: null,
};

const MODEL_RECORD = {
  v: 1,
  federation: 'demo',
  name: 'logistic-44054006',
  version: 3,
  digest: '8b7df143d91c716ecfa5fc1730022f6b421b05cedee8fd52b1fc65a96030ad52',
  bytes: 184,
  createdMs: 1795745493044,
  lineage: {
    training: '01a21b462e9c4b37510f49c9659e37a4',
    rounds: [
      {
        round: '7274322a63cba9495d55d5dc0941ba6c',
        planHash: '0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8',
        sumHash: '5dca1bd3c4b5d9d1ed8b3f0a5fd7c4a1c8f9d0d1a3f6bdc5e1a6f6c7d8e9f0a1',
        survivors: 3,
        lost: [],
      },
    ],
    sites: ['east-hospital', 'north-hospital', 'west-hospital'],
    model: { kind: 'logistic' },
    data: { target: '44054006', features: [{ kind: 'age', scale: 100 }] },
    dataHash: 'c2f5e9a7b3d1048f6a9c7e5b3d1f08a6c4e2b0d9f7a5c3e1b9d7f5a3c1e9b7d5',
    scaling: null,
    privacy: { unit: 'patient', epsilon: 1, delta: 0.000001 },
  },
  metrics: [{ step: 1, values: { patients: 312, loss: 0.61, accuracy: 0.71, survivors: 3 } }],
} as const;

const MODEL_SIGNATURE = { ed25519: 'cN6Yl3Wd0w==', mldsa65: 'mJ0fGk5xQw==' };
const MODEL_SHOWN = {
  record: MODEL_RECORD,
  stage: 'production',
  stageMs: 1795745499120,
  signature: MODEL_SIGNATURE,
};
const MODEL_SUMMARY = {
  name: 'logistic-44054006',
  version: 3,
  digest: MODEL_RECORD.digest,
  bytes: 184,
  createdMs: 1795745493044,
  stage: 'production',
  stageMs: 1795745499120,
  kind: 'logistic',
  training: '01a21b462e9c4b37510f49c9659e37a4',
  sites: 3,
  rounds: 1,
  privacy: MODEL_RECORD.lineage.privacy,
  metrics: MODEL_RECORD.metrics[0].values,
};

const EXPERIMENT = {
  id: '01a21b462e9c4b37510f49c9659e37a4',
  state: 'done',
  createdMs: 1795745488719,
  startedMs: 1795745488801,
  endedMs: 1795745493051,
  model: { name: 'logistic-44054006', version: 3 },
};

export const EXAMPLES: Examples = {
  'DELETE /security/audit/holds/:id': {
    response: {
      released: 'f9c33a0e1c5135c1',
    },
  },
  'DELETE /v1/keys/:id': {
    response: {
      id: 'ec3aeac7c9ed5fb3',
      name: 'dashboard',
      role: 'viewer',
      department: 'operations',
      dataClass: 'internal',
      createdMs: 1795745490566,
      expiresMs: null,
      revoked: true,
      scopes: ['sites.read'],
    },
  },
  'DELETE /v1/sessions': {
    response: {
      sessions: 2,
      keys: 0,
    },
  },
  'DELETE /v1/sessions/:session': {
    response: {
      sessions: 1,
      keys: 0,
    },
  },
  'GET /.well-known/jwks.json': {
    response: {
      keys: [
        {
          kty: 'RSA',
          n: 'q6-0PR4OobmOQsmRN3E-u1zzw6wtXkKfsJ0MjbusPADnwQ2PiRD3ZQjkyS9xIIRw8wmfCziK-uAnoUcPcfdoETUsXxW0e5FjJeneZqnJgtHl6GfiBUpP-3axYStbYnI21Prx5Seikgxz25Rjb3SXDpNJeBJwMNFqMwdqDMPDLbIVkI8zynydLiuV2VYmQe2UBpQzRpvabhZVDGe4rVFSxX2zPxQtgSIyxkEMPzg8CPuXtjTiZ7VIf0H2E97he1wqd-7TFN0hiLdZKNqXuIf0CUGNxVfCAcjRpN8tXIWwhVOiVR7Jg3KOjILblSgLWtbZjTJ_lBjzEj7iVJ44k0i6Uw',
          e: 'AQAB',
          kid: 'f5ad78d99f273217',
          alg: 'RS256',
          use: 'sig',
        },
      ],
    },
  },
  'GET /privacy/budgets': {
    response: {
      sites: [
        {
          site: 'hill-university',
          siteLifetimeTenthsLeft: 10,
        },
      ],
    },
  },
  'GET /privacy/status': {
    response: {
      authority: 'each site enforces and records its own budget; these are hints for planning',
      sites: [
        {
          site: 'hill-university',
          siteLifetimeTenthsLeft: 10,
        },
      ],
    },
  },
  'GET /quantum/coherence': {
    response: {
      what: 'the share of the l1 coherence of open decisions that the age of telemetry leaves; T2 is measured from how fast placements change',
      threshold: 0.8,
      utilization: null,
      least: null,
      openTasks: 0,
      t2Ms: null,
      fidelityObservations: 2,
      telemetryAgesMs: [
        {
          site: 'hill-university',
          ageMs: 1410.1,
        },
      ],
      mitigation: {
        enabled: true,
        triggers: {
          coherence: 0,
          outcome: 0,
          site_lost: 0,
        },
        replanP95Ms: null,
      },
    },
  },
  'GET /quantum/optimization/status': {
    response: {
      what: 'planning together against everyone taking his own best site in order of arrival; efficiency is the share of the provable saving',
      gain: 0,
      efficiency: null,
      saved: 0,
      independent: 277,
      provable: 0,
      plansCounted: 3,
      solvers: {
        flow: 3,
      },
      predictor: {
        observations: 0,
        used: 'quantiles',
        forecasters: {
          quantiles: {
            pinballLossMs: null,
            coverage95: null,
          },
          moving_average: {
            pinballLossMs: null,
            coverage95: null,
          },
        },
      },
      adaptive: {
        epochs: 0,
        regret: 0,
        arms: [
          {
            arm: 'balanced',
            epochs: 0,
            meanReward: null,
          },
        ],
      },
    },
  },
  'GET /quantum/status': {
    response: {
      what: 'figures of a classical ensemble of plans; amplitudes say how open a decision is and are no physical state',
      superposition: {
        enabled: true,
        tasksActive: 0,
        waiting: 0,
        tasksMax: 100,
        ensemblePlans: 1000,
        ensemblePlansMax: 1000,
        meanEffectiveSites: null,
        deferral: {
          isOn: false,
          why: 'not measured yet: it needs 100 served requests; until then every request is committed as it comes',
          savedMs: null,
          lowMs: null,
          requestsReplayed: null,
        },
      },
      entanglement: {
        enabled: true,
        strengthAverage: null,
        groups: 0,
        groupsMax: 50,
        tasksPerGroupMax: 5,
        pairsEntangled: 0,
      },
      interference: {
        enabled: true,
        gain: 0,
        optimizationEfficiency: null,
        churn: 0,
        heldByHysteresis: 0,
        resolution: 0.1,
      },
      planner: {
        strategy: 'adaptive',
        strategyInForce: 'balanced',
        planned: 3,
        planningP95Seconds: 0.00991363,
        threadsLost: 0,
        standIns: 0,
      },
    },
  },
  'GET /security/audit': {
    response: {
      entries: [
        {
          v: 1,
          id: '01M8DCBA6M0BF5PECH7HH58Z1T',
          timeMs: 1795745491156,
          counter: 52,
          bootId: '883fd03aef540b75d39a9c1cfe44a9b6',
          source: 'coordinator',
          actor: null,
          role: 'operator',
          action: 'tasks.exported',
          outcome: 'ok',
          objects: [],
          purpose: null,
          classification: null,
          session: null,
          requestId: null,
          cost: null,
          detail: null,
        },
      ],
      next: 52,
      size: 53,
      minimumIndex: 0,
    },
  },
  'GET /security/audit/:index': {
    response: {
      entry: {
        v: 1,
        id: '01M8DC9TJTHW74N4YH9BNGQT0R',
        timeMs: 1795745442395,
        counter: 3,
        bootId: '883fd03aef540b75d39a9c1cfe44a9b6',
        source: 'coordinator',
        actor: null,
        role: 'operator',
        action: 'site.invited',
        outcome: 'ok',
        objects: [
          {
            kind: 'site',
            id: 'hill-university',
          },
        ],
        purpose: null,
        classification: null,
        session: null,
        requestId: null,
        cost: null,
        detail: null,
      },
      leaf: '{"action":"site.invited","actor":null,"bootId":"883fd03aef540b75d39a9c1cfe44a9b6","classification":null,"cost":null,"counter":3,"detail":null,"id":"01M8DC9TJTHW74N4YH9BNGQT0R","objects":[{"id":"hill-university","kind":"site"}],"outcome":"ok","purpose":null,"requestId":null,"role":"operator","session":null,"source":"coordinator","timeMs":1795745442395,"v":1}',
      detail: null,
      proof: {
        index: 3,
        size: 55,
        path: [],
        checkpoint:
          'qfl/demo/audit\n55\n2zB+mZsAGG/IZQpxC1L12UsJ6qpLN4o+OqfWhEg09J4=\n\n— qfl/demo/audit v9zMWR1vzYXlH3XnrpRjQWga5R/g23YSmb7yupS…',
      },
    },
  },
  'GET /security/audit/holds': {
    response: {
      holds: [],
    },
  },
  'GET /status': {
    response: {
      program: 'coordinator',
      federation: 'demo',
      uptimeMs: 51226,
      sites: [
        {
          site: 'hill-university',
          status: 'approved',
          online: true,
        },
      ],
      directorySize: 7,
      auditSize: 34,
    },
  },
  'GET /v1/accounts': {
    response: {
      accounts: [
        {
          id: 'a787b14f3b0c76e3',
          username: 'alice',
          role: 'admin',
          department: 'operations',
          dataClass: 'restricted',
          status: 'active',
          secondFactor: true,
          provider: null,
          locked: false,
          createdMs: 1795745489736,
          lastSignInMs: 1795745489816,
          version: 5,
        },
      ],
      next: 'alice',
    },
  },
  'GET /v1/accounts/:id': {
    response: {
      id: 'a787b14f3b0c76e3',
      username: 'alice',
      role: 'admin',
      department: 'operations',
      dataClass: 'restricted',
      status: 'active',
      secondFactor: true,
      provider: null,
      locked: false,
      createdMs: 1795745489736,
      lastSignInMs: 1795745489816,
      version: 5,
    },
  },
  'GET /v1/auth/me': {
    response: {
      kind: 'account',
      id: 'a787b14f3b0c76e3',
      name: 'alice',
      role: 'admin',
      department: 'operations',
      dataClass: 'restricted',
      scopes: null,
      session: 'bdefd91fdd337e9b6beddc3b5a194c28',
      restricted: false,
    },
  },
  'GET /v1/auth/providers': {
    response: {
      providers: [],
    },
  },
  'GET /v1/auth/sessions': {
    response: {
      sessions: [
        {
          id: 'bdefd91fdd337e9b6beddc3b5a194c28',
          account: 'a787b14f3b0c76e3',
          username: 'alice',
          method: 'password',
          createdMs: 1795745489798,
          usedMs: 1795745490232,
          expiresMs: 1795774289798,
        },
      ],
    },
  },
  'GET /v1/budgets': {
    response: {
      authority:
        'each site enforces and records its own budget and raises it by two of its own people; these are hints for planning',
      microEpsilonMax: 1000000,
      sites: [
        {
          site: 'hill-university',
          siteLifetimeTenthsLeft: 10,
        },
      ],
    },
  },
  'GET /v1/directory/keys': {
    response: {
      program: 'coordinator',
      name: 'coordinator',
      fingerprint: 'e94940f1ae48c648312dd88c85f14f6bb84bae2c601cfa8cc6c862264b6a7780',
      phrase: 'x54m-1wde-9334-gc9d',
      standing: 'in_force',
      identitySinceMs: 1795745436944,
      pastIdentities: [],
      epochs: [
        {
          epoch: 0,
          fromMs: 1795745436944,
          toMs: 1804126236944,
          held: true,
        },
      ],
      nextEpochMs: 1802225436944,
      prekeys: [],
      recovering: null,
    },
  },
  'GET /v1/directory/leaves': {
    response: {
      checkpoint: 'qfl/demo/keys\n7\n…',
      next: 7,
      leaves: ['eyJyZWNvcmQiOnt9fQ=='],
    },
  },
  'GET /v1/directory/recoveries': {
    response: {
      recoveries: [],
    },
  },
  'GET /v1/directory/sites': {
    response: {
      sites: [
        {
          site: 'coordinator',
          phrase: 'x54m-1wde-9334-gc9d',
          identitySinceMs: 1795745436944,
          epoch: 0,
          epochToMs: 1804126236944,
          prekeyToMs: null,
          confirmed: true,
          revoked: false,
          suspended: null,
          recovering: null,
          comparison: null,
          comparedMs: null,
        },
      ],
    },
  },
  'GET /v1/federation': {
    response: {
      v: 1,
      name: 'demo',
      logOrigin: 'qfl/demo/keys',
      keysVerifierKeys: [
        'qfl/demo/keys+debbf76b+AZ+dmWCpOmkn9eGHJ/QsA6wNf76vip/j/jRiy7ttK1YB',
        'qfl/demo/keys+defd203e+BlXevw7YIb9xlQXm7NKGRM/e1RQFarq6kn8aLIU7tig7TXRP/KFEjg0z3t0ZNeNq5Ozk87XAo2lr+o6RmHvM4E1yNKttGFBo2GWbwVH7uWbmo72ogEsLb6u0+/hpYQflW4fR1cBu29umGxadNDc1CGVqfn0y4jDCzrqDL6oXezb9Gr/b1WAejFq+BkMojGh0asPDqfiv/maD2p/zi3z19s4j6+VKIlevHm7V6tBVz4XVD55UyJK+Eb4K7T0d2BixYYDScm+sVh5c6btVF8IrJ79BtZ9IzYXN5JQuLAXW5KxmUid6wrVU5d+TtSc/ZwVcsY8/T9W4puca8PhNGPCWNOwjE4aQ90KIeiZQpHtqs1yOnjscVODI5rF4sL77fs8zZrHRXL5eeGe/mZpgYjMyUTAq+cuNN9ZZSm09F7/MeHElYG28YTetZbHtahHr5oNKaxkmcNgFMuRY2MFR9/PLsghw25kx0UUy5itM1fzAjJeYVdjynPqLKFVNgSpfqdllsEaMP0T2SU/ijo6ZC3t4Vs0jKcq3wxr7EmrJWGheURvm9vfLIYFLq0xPEFVs+YP7nf214qrUcgU+QpzY2Q8O8yWYK1oInXOLaPgKxBFt/aUkG5xf0G2VwZMQQYIdfOrKg/+ZsPKaj+SvSy/Wgh5lqsz8bz7h8DhnSzBx7s/pZ7e6Pyg6bM0LgapdR2p8JaVlcQ6SQGguFhLLvMEnDbCtfUnaCd0IYgxi+R/Z0ISqo0OxWC2hLEsvT05IidCcHNMaD/VF8iZMnzLk2sopGhUHMfBr3Nz/ObnaM+/EwltYa8DWD63CxIHj8ohw5AQqA23r2NrWEldDCsRnylfPu8SaZtXdmcdBh4yfvUuN89pDmrNGhJqyH3r2NYsFZZxL6/qGBneE7OVVTiXea3vwPT4J5u8xxXRlWN81pG5XX+xY4YkhcXKDW5Q55BFeperjIampjmY5ek3wgDONrlSIoQOzeo2ojp+oqO5F9tdfr0CrYQwLbBkxagqU/KgGg4KxqwV+CLx74rMMbWNrA6Jc8WGLJuXyobdVhShjaYHqoaCO37AgddlT2h0VpAXkgY1KvKda8xBWX5L/3PzwjUkXqXMTWLypakUGIdtTD/rkkXOpTe/LHBz7XoOGQcJInbEZaDDl45P/ODXz2F2/kGM0HW/LC1yXKoZg4NvSe85HOV58aHsXr3Y70+uMNtMq/IcyDyrMW+ULwWGkFow6DxA7I2KUOouOWTyUIjKk1APkU4tHS0R5pUZVjasyr+0nkpRHrTZIpJJehcmTYJBLAIQ7hR/5TCZjdFfA3ND66EuZvk9sGk2dw4OwLQexznnAilFQKjVcvTmAbMRPxp+5GQoolXStMWIbaENqOAQqRSC/ALeqGuuu4JVJnqDvD64J46N4SbvPjeNuvPJKcgg6M4vsXouNvPu84SBRQfXyrwvqkEzLcwGiN6Aiq8O21vh/XMaoQ96eq4bRjapPZv9SqtgRTfc2MiFTADaCvX5sL9qXTMjjEVGTxemZCmovVi/Wb9lx5BUbugDrx4GMzZhcAs6ndBoMhobLMH/x5Yc53VlfWDOHluqkmTZl9fkGqGPVmbDvWh1Cj809HFlsNIfi+3sTWN9GsZgjyRfNc826g5K7OZSnc4C2c0+kDqpMlEEnbMZcKD5WhQ6Np5il9yAdb584DXINgqy/ujJHe+tkb6coTMjjkoSA2TCS3aNALEyF3QqDc3me2fCJrgQHcPd+gCC7nuAypTw=',
      ],
      auditVerifierKeys: [
        'qfl/demo/audit+bfdccc59+AegaRhcMqsk/FiqrzCkCZGgbRCoL0Sf1pMDFKItftsdM',
        'qfl/demo/audit+500d5b4b+BngaTDYWX1LvXRACA5iHILZz0CO4X0Fgggp3vVCmNhWLfjVOHHyOdRibFp41Q++77O+TlR8fKOlMQm+vubGPyCqUfraPAyHZY9yxREkk/c0uWNrOWxQn0kvZHHzwh6OoMYUjfZ8MLcEYpuOaQyh3wbFtfGFdF3Uo/2PtkZ/q/6JeXad2QkuzRTFUz6wRGp8S9ERwsRZB+uLHYXMiqlgDtUBINItAjfVc9sJ+gwIRWCrinx6XKaUbVPi60rv4GZNpsUySe93BpM+wT1IWv53EyV9tZ+JJ0Mw7wnhiKBYrEnGPyLgCSXwTWjaju8lhVrnSqUIVL1NB/T8/W4UvEVA8V8Ma9MeDpD4HNQbu3xz2i+crDi3Z47o6f9b2UkVY09tJeW+geo7V90rP/UQ21hjOQGs8+YAI0HLHj90Gdb2F/LCOO2mylvKv58RRif4eDxiLW8AAPc/1+ZmCK94u01X454AXZ+1BAKxKv1J97dLj3+ENQnQxZGUeXhHvjfgS7TAtw27rGef8tCFJ/T3fTmIQa0V1yheTZzMjlDJOv9H4cMDQXV1dAoXG3oDLeLW+Ak1flt9FS9eiNiUkJfQjqzH1iTfQk73vDcp0C1hJxaXK6bM/DBxjVdhp63QUa0IkDEjqUO7Bd/89/SThCBYlAYmR8o6LvnuRsbKbeN5yylMHjhM6SILJM3EYbrliD/4g5tJWdJw+hkB81HRNa5BsyXRlyv7pPNrYLtn8Uk2Y+98d5FGZpf4x9DKPJmp/NG560MTKAZdER3EBLLt7FHv7CoB3qTFpshGTJtOboO5xQPMIkE3pfDLTjHuPMEzhAFouh5q/I8BIPNtZav2urO76n5QdbcYhpGx0cOiDngZk99ggoPdUB0Lx8SazbVW4meOHq76a65LnttyMpLsG2bXkZPJ3vs2GbT0f3Uqf+o6x+Ks90KOyQYiqlAfzVEdhUFTxlgXXNahkEL6uw/YvuO3XPmrJh1OWE8fKBsgWPOJoojFAnOXiMqlotevP7Do7WxMUyMh4ncacbxAC3A1TQ3RigneMnCPz3rF/ECI41M9oEPKfpgJNZLnTTjoKSZPMQFKn7S841wTouO2TSV8mDlw8zd70F1rogGS4aF8nM4BWjf6CvAs/qbK2vn9dU/j0vjsyfC6cbFM8i0oS5Z1S68SNgsVoILZ0l0H/vpAmewQ68M4mYiha0abgmVyugMJWqu+yqaPPU+5IO/uiW3RmXAuHiyBg+DH8m3YQ0puTp7BLLwf+EQZqTaZfUXzwznnUFkP468NKLqVA64AwE8vxONktPAI156L3sFiJuuoXms/UlzmMuTkd609ai9UrTHEDlw2p3LIoT/hXqoscQQBEYUqFrBWTNqpPwLB1TDbc9VLCobBGkYLJc5wUna3kpQ5Es7QJlD7wNeNoqzaeuxCRlA8tT25h9i3+H2t+afkvvy0reK+7QY3LLsiRwYh7whcI04b5K/mgyqsVIXyazCT1jXSiinN1Gjmp5pZgxlHDxxys83GeIQS+InHssjspR4o3jl113Ffq575AblPz7/8Y/NgfmcVco37oVboGsnNCuDFonQUJ21o54KB7nkSMbvoqyX5XL5uPLuz/eZpCmpEBJxReIqwnhHW7AJNAqKCOUcWnZtmiTDgLPbQL5KxMfjzU/3ewyFXJZxblQ/2VvtEA5nYQr5lnlh/4a4xjbToNc6c+Dqh+vlvqPx80vzAXjlEl3cWDh3Dbz9lHzTdMW9No0uP2Hf0HJsg=',
      ],
      leaf: 'eyJyZWNvcmQiOnsidiI6MSwic2l0ZSI6ImNvb3JkaW5hdG9yIiwic2VxdWVuY2UiOjAsInByZXZpb3VzIjpudWxsLCJhdE1zIjoxNzk1NzQ1NDM2OTQ0LCJraW5kIjoiZW5yb2wiLCJlZDI1NTE5IjoiNW9GZURrQldleG9LeFcyQ3AvalFqV0NxQWVyWjFuRVRNNGJqR3Ardmljbz0iLCJtbGRzYTY1IjoieDAvVTdRUmZZT3EzVjFaWk0zWDZobmdYNDlUKzExczUyS2ZlS1IxOFVXV1BkMkt1Q0NkVUlRZlBmbWVKclVyZk5XYXVjS3o0SllGNnNiZzJvL3NjaUFDMjlUeklRelZDN0JyeGZtQlNkSXN4MGNmVlozWE5HcVM1YStWMzR4TmJGdXc2MllvZEFYV3pkbkpOSzNUQ0E3a1dDeDFBd2xxcG13NllKNVExMWswb2FLVCtKcE9YS1pRK0trbW5tRzdkWk94MzNua25CakRzNGZnVXF3c205UTBYR2ZnVUtIM3I3TnJLcHJwR0hNWmRWV215SWlnYW1QalZDYXZkSHUwcWFUR3R5OFZranJvMTNNVlEwdnZHQ24rRzYrSDk3cjNsSEpjSU95bWJGcnlCRWtPeTdmM0xOSTRidTVZL2RtU1BPRHkzWmtJeEpnakVpYVFTMGlrc0huUTdKVnRUdnJkVmNhQ3B4Z21SQlNwQktITDhqOXNIaEpjbVZCdHR0VXp5cURHRFJZUkZnL0tzTUdoMlNTVUs0THJkbGpmMjV0T0dLcnYxQmpJeGpTbGlUV2dNbURNWjhIN21aSXR4clllUXZDcWtWRUdRYXp6cWxZVDljQlNjRFdYTU1zRlJ2RWFGYzhSTE9ObFZrbG1SYVJLVnVmeHBQRTI3WWhGVm9HZzA0STdJZXorb1pnZlQ3VUpPRytIRnlNb01OdUVSaGZVVSs1bU5mV1pVOTlZa3ZuOW5XUXQyK2paQVRrRFA4cHdmd0t2Z1l2RS9qQ3NVTldQcFBpb1g1RlhmWU1ObjJKWkV6NUJWUTg4eWJ6a0t0c2hkZUQ2bnBoZkpZck14VC82bDNhS21HQitmM0xuYlJUdkxEM29DUmdkNUhrNTRwVFBYVDA3bmFvZGxkL2tRaXBsNndINGhrV2N0VldkZ1kvU0JnaFZseUE1bjV3TVBmWjlGdVNSSkFNUE1kdmZCVEUybUNWQ2ZPLzFLRlFkWkNEZGJ2bysyVEJJeUFibmlkV0xhSXpjU203M05EUXhQSENBblpRM0dteWFNQzFJalJORVdxemdQMlZQRVBzMzJ1VTAvVFE3QW5sbVBQR3NrRWNYS2l2NTh4Vlg0NEs4MFB4OVQxVDJMWUtGUnhsMFJ0bVBjN1N6c2N1cUw0ZWsxeGpMNjY5TUF4KytTM0poTUs4dVlnY3N0ck1OekhHaHEveUp6K2o5RUJ6VEpIMDNxUGhINGFvZUxiRmpqbitMbUo5UktacERpS1luL1o1MFZGRWdaK3pvZ1l1bEw4YTB4SktIZ1pJVmVsVDVRQjZJTHp1S1lQZWZzRG1RL1k5azgyOHc5ZjQ4b0hYMXVJekNBUkNCcUV0dVE1VU9DNDRWS1lGNnR2UFFXaEk4UzhMQWNTU2ZjNTluMndBNURDb1Y4d3k2WTR6VEZxZnRuMEcvcEQrQ1oxUGV1RzZCN1RnRnM0T2lBYWlVMU1GdTE4MFBPUWtKbDV1akg0YXp3VHJ1azVSTkE2WFhwVkIwb3d1KzZmUG1aRWdIWG5Dd0pORkdtQ2U3aFhLR014TEFWd0loZTBIVnA4NWtuV1d3OU13SzNTcDhZYzlZWlB2M3JlNU9abllpRlNKSlNkU21HNlVUT09aWnI3YU5PMW5GRE9Xazc5d21vVFI3b0tSQmVrdE5SKy9wNkM2bXlQT00xU0dDZ2MzaExqYWJiWGZjOTNZQWlGcVZjMnFBaUZodkJCbkVjUjBvSzVkdFoyeFNiUjRuN2k1VC9udjVlZysrN2JaSy94M1B1eG9pRFJzdHlhMWtQZy9Pc21NTFFhWE9ORzIxK3Z5NitkTnR6QnArRDlBZWdqR281ZTdvOHVyZml5OGlNNExzV3ZSV1dCYWYrQ0sxN3JKbElkSEllUDMvK0VPWmF1UDdLaWFCSWFwbmxpZ0V5R0FUWnUrdS81ZjR0MS9BS2gvU3RaSVE4VktjVzV3VlJ1dEpNUG9yRS8wUHRsanJ4WENDSXdSUS9MK2dVQ2w0NEtJYmxvSnFVY3lYZU9nNlNROWtVUE9MaHcrTEFUS0xVRjRvSXJDQXR6OVVIR0F1MXFkalIydnJjRHcrWEFFcjVRVlNIM3RpeTdVNEdtSjZGMWxGL1pTQmlVUzhtK0pPc0s1bWJySm8wMHpvZitLcXBwdnpTRHpESVMraTlvUTRYM0pUdTAzVDg5bmtVeHJNMHBQcDBOTU5VNHhjcFBWSEQ0N3pUY3RMeFRPbHhFRUJsN1A2MHNKd2pxS3VTazBBQXVDRnhoZkJ5WVp0ck53Nk9ETTdxNFdkRlFLNzduMzVGUC83MTlXNDdURG5hb0YwcnBFM1JuQ1liTEhWVTVrMXVVNCswUXFpdytuMlEyY3hCNWhDYjdCRU81TXh1NFBvNWNRN2l3ZitrS2tVZmxGWHlrNVc1VmY5cm1jUnI2QUphMUxQVEpLL1lmWklMN2xTYWxzeGU2WWJNZ1IwQ3JEZHBZbEFVTWlDaEgxa1VDQkJ2SGYyRjl4YmdhTk5PZys2aE5kNW5ZV1RrclgwdFRNZVE3cUFkcGRaRU1ZYkJNTytXUFdhWHhlZWRROG42ZW1TaTNqQzZlNlhhbnNTcGFHalZvU0xuMmphYUd2ek1pcDliY1JoU01oOUlPS3ViYjYyeWk4YmJrZGYzUHpOb1BNcE5tTld3V0dXV3ZpUndLVnlCUE94NmJLZDRnWE9ERDY2aEpDVGxwWWlGZXpmaXgxZ3Z4UzBQZWJRV1VCczhpdE1KMmwxekhndEtOb0kwbkV6ajBPNThocDVCUEpiTXpyMTZvcVNXY3BGTEZRQk5YQ1c0QU9zV1ZUMFVwaUdUUU5QR3hsWmQ4ZzJjSGxqY0hPaUgxemNvaVZpN0RvbXBMckdjWTNoK0wwMkNQbGltamU3QkF4VFdwYmN4U0tCWWp5Qmc2bC9WZ1BBSVIvZmZodGR0UHVkMkJaWjJVeTYyWHFYbVFMd1hNVFlWa2JncFlEWGRRTC9pZWlTV3NIZllMaG5FZysyQ2x0SVZ4SzlienpwdzRKaHBZUmRYdWhJS25SK3liSFJZVE00dDZqMW4xdnBLd0ljbDRvaFA1U0d6TGZqc1R2UHdvelNTSU5iK1VsMmdlYzhDemxHbzlseks1Vmgxb1R5dCtOZmk5MzRUL2NjMGg4bWJUbnpZd1V6ZkVJUmc1eU1LTWs4ZkhFcmtHM285b01oNDQ4UFNYdTZDSlFpb0VFamtDSGwrcURmR25HMDg0WGJyWDkrYVdIWlFxYVNTZ2dTc1BHZUdoaUVDT0FjY3FGNWhHeTB2Ry9yWHZFdmlpc0dROG05b0F1T0pGbWp3OEp3RmdHY2hyZmVPN1VieEJVWEdIQkNGQks2YWhzVDY1UjVVb00zNjlWNnhQaE1ISXcvM1RYVGIwN3Z3MFJ4bE5XWjFoMkhPMi93YkE2RjU5TzZDOUozVVBlb1ZBcjQ9Iiwia2VtIjp7ImVwb2NoIjowLCJrZXkiOiJ0Sm90Z1hhR0YraGVEbXB0M2JoZHVBcGo2WGg4K2NKTGpka3ZMYU0xM3phMjNWRE9udUxQclNlMkFtd2xEd2FlSmtUTDc4SEpYQnkzN3RPYmpqZkxVK0VqWlRXNFVHZ0pFQm1LNVpkMTJ2Q1daeU5PcmJMSG10RlN1aWk4NDdXd2d2cE1lTll2dlJXMWFCVWN0RmFVbW1Wcm0zV3djZ0doZDVGZlNRcVBwUWdSRXVCRC82R0NXNEhDcXZtKzk3SjN5Sk93TzF4NjZhdXFsK1FYVkVkZnVNZ29WK2NmSGthcHU4UUJvWm9GMi9SeXV2TjZuV1JNdm5SNFVIYU5WZEFuVDRmSjNZVTdwa1UvTURHcElXU1ppVG5IRUVFS2R4Q1FYMVlkZyt4ai9SRTJqdUJ5OWx0d25OYTlWelFxNElBN0ljc3hOaE5RNGlXQytDR1ZDNEZka1N3dnhGbCtJMU04bXBhTHlxWW52M01WV1N5T2M4dUE2NlVtQjVzS0IzTmpwVmw5ZmVFR3NuaEd6bU51emprbnUvaUc0UU5PbVlZSHlYQ0VmbXhvN1lPdzU0eXZGN054bXZGa2R5a005c3EyV0RzN29NS25OMHhhRDVSK2Jmb1FmdmZDRjVBMVVyZWpIOFJrU0hKcWNvdyt5V3AyMDBPaWJNWVR1S0tISElJY3phWlc0WnFrOVFXVk4veWtSYlJ2Q094MFZ4SVNyOGNVVmRoY3BTVlVWbEkwaVlGNEJCeDl0ZHV2L3JhSFdxR2JVd1VQT3lCWVJHbC9BV09Hd3NLSWZIYVA4TXEzUWVBallpSkhJTlVERW5MSlhnS242M2Q5SlNNVjVBZDQvd1V0SnhyQ3JRbURWWFo4UjJ5RGlSQ3BrMVcyT0VPSFhzSmhMU0dYRFplWU1XbzRBSmFPaDVwZWZrY1hybXdUdGFNNEx3RXhmVFNwK0phTTV2VElFRGU4Y2ppQUROeGhCS3lqZGlDU2ZsVitSWGN5eERjZlMyTnpqeVIrZVlOWmFBaFlyZHhWUklKcGJqZGl6NG5HOHR1dThLYzBEQ0paOXdhZXhrelBTd2NjaFlaTnpmSlE1Y280M0ZPOUVkd09adHhicm5xWGEyc0FqeGJIK1RXSHEwcXoybE5FSXVTZk92Wmhvb3JBK3RLRk5tVnN0eGwzY0J0MlpBWWpxL1c1U1RWSDZLQmdXNWxpcThhc2FHUkRPSElPVHZxREFPVTNxVmtzWDdPeEVUczZlV0Zzb09VVDJQVlNOQkZOOTRZbEU0QkVITmMyZEF1dUNyWSt2a0FYRG50c3FKZ0VIZ3c1eWNjUy92Q1pnT280SkxwYjJyV1J6cmNDRDVhRGM5UkNraEVrRlltUjZ4QVkwRVVVYzFwUFBVazFKK1c1VCtKMjRhU0NhdVU5SkJLL2RSWEZ0dU1BN0lVQVEyeVZNT0o3aktsb0R3Y3hCMllZaGRoS2R2Tmp1QmxkNS9nYS9uU2p1WHUveVZlYysxbXVKR3l1QWtBRGdvYWNMRFU0OUFwbThxQ2xrS09QbmhLQ1dLeDJWaUtKNTZQQTMrTURSemZCWHlrRXBkZ2I0Zm1Tcy90NjNYVWxHZlExZURxWWN5a21sbWlZQ1h4Z0NRSXU0Z1d3aldweG5UUW04VVIvU3dPWDJmVkx3OGtudC9LM1p5S21rYWRlQkxKWWxlQ20rdXcxalJPV25JdFk0TkNPV3VFT1UvZzltNGhHeWx0REJJeW5XQ3V4Ym15SmJQUmFuOVdMSjZsYzNMeXVjZGJOdE9sYWZtbGxkaGpHRE9uSDRYR2lhZG9Wc3RrZFF2Z0RkQ1lrYjFHT3hBS2s3aVVVbWJrcEdGaUc4dFBNdm54WFZ5S1dBN2d0MEhVZ2FPTEc3bHpFbXRnSHI4VUl3RFBKcnlGbGo3bG1jV3dEaGJ3WHZOQ2RINnhjZEZJWUpVUi9Da0dXWXVLZE93b2kzVWd1NkpCKys2aXhjbWdFVFNvcVFGSmpCa21PWnVrT3JWVm9xWkdzcTd0Q0ZqbVNPbFdLVHFPTHluVzIzU0YrYzF6aFR3ZTNrMDlYRGpkN0kyeG1ucERGTmZFMGw1SUZEWTNMM0p6NC82NW9CT2ZaRlpxU0xTVGFOaEMxY3NlMGY3OWdFeGIzeDNYWFVEcVVhQT09IiwiZnJvbU1zIjoxNzk1NzQ1NDM2OTQ0LCJ0b01zIjoxODA0MTI2MjM2OTQ0fSwid2l0bmVzcyI6eyJlZDI1NTE5IjoiMUxJRGdKODREYzUxbStiL3ZIR1g4YVNZcWRhVkZ2OFAyU210b251cGRvRT0iLCJtbGRzYTQ0IjoidDFSeHE5S0xqci9Lay9uNjNXVGd3OHZLVHhDb01pQ3ZpYUpJc2gvd1BIWFdZdnZGcHV1QkJYQ1g4RGhuS0lrS0EyVzN6K2tzVS9BUjFleUswTnNpaVlZMEZKaVFkUTdOOUsvdGtqYjE4Yk5IM3NGVDk5RjhNVG8wSkVVTnJlK0JmQjZ5MHFaRXk4SWE5eXd3QThhSUVlVDNZN3JSRkp3ZU8rZklHR2N6UFBVRnVRVzZlVG5nSnRvNlR5d3ZiWlpFMjQyWXBsN1AyNFJCdktOTHRvUG44citJNG1IQ2V1T0RDVDgwcGxLL1ZJbUw3VUxSRFhnTG4xb0NOakxWRHRqRzZ5ZisrYk5qVjFiM0cxYk9EK3dZcUZBWHdNRnhvb2paWWg3aUZXZDVHaFNMQk83Z01BUXpDMWliWUoxUHcxY0ozSzIxMkNrdUkwaXFZaWZ4SWdGbXpiY3Q2RTc4T1NSbEY4NXg4ZTNvYmx0RmkydGNjVVZIK0ZvOWtETlZaUGR6cVhhc1BiMlVBdzJvSDFwWHpRY213SUkrbG53cjRkdzJlUW5mWWxqUGhSNGdFTFVYamxpSGoxRTcvSDd0d3JMN0NmTTdFZVJ6Wmtxa2VUTHJQNklqRzFoMmYvRHV6SGVmUXRuWlpNcSt1NEVFRlI0WnZUMDVFZTRJWFpsQjZtL2NnL3l0M2REbVRrWTBxaEFySGRTb2ZrUXlSenpmUDNHVjI4dkN6MkVQek8zemg1dHp1ZXR1UXJSdVRpdVhLcTFRMFB0N0l2Ti9xUFo2OUUxL0xJQjRCVm9kMDZXUGkwOGJDQUkycHplb2tRMnh2dWl2eE1tdlRyTHZvdFZDMHFheTA0S3B6bFFLK1FJdFZDNVpHWmxDN09wbG56dUlkNTJ2R3hQWmZ5NTRla01FMUxiQzRmQTBQVHJLL0EzRnRmNG12MjhCY1RhOHJtS2YyV2lic2p0R1B2dmprYW9OWktWcEg2ejM3SjJ1QlVwRUZlZ3JCNnc2Z1JiUzRvV3V4NzlqenJ6K1JnWWpNcisreHNsZkJldVZUa0ljL0JBV00zMWN2cE56UDhPZEJ3NzNWdXZEWEQzTGo0U25lN0NxVy94Z2EwV0p2WlJ4RngraWt5SjErZWRIM3I4WitPZXVFWmZsNnpLd2pnNG14Ti9WVjVhVXloaEJPOGQ3YWk0MGtVWFVsS3BtUGZhZkF3YmJsaGNPMDY4TDBhQnMvVWtITzJtYytxTU41MUxWZFBNdjhlTml1aXFkZ1BpYmJFTjN6c01EeDJzaWJlYzRWdHF3a0ZWQzRObENaa2o2UGxqT0JTbzZ2SmdrdGZLWnJoanFaUzhWelRRZ28yc2oreXpLWDhJcnpvTjJRTUNvZS9zK2U4TmhoNURERjBRN2lNTkJKV0FaREFHbEVHT1VXaG83bHVXMjBvYnQ5Q3BNMUFNTUZ0K210WjNWZnZiMUtra2pHWXNqWlF6K2hTSVJYa0t4VE5OdjJNclVJZVpTT01XWlBydmtVVGhzZ0hlZTVCQ2hPM0dTM1RUQzd2OGMza25JTUxpc1lxaHdLL0dqc2liM2ZpRUU4V28wUkthY1F4dEQvVDBreHlGbUd1YitpbzZGSEF0VnVtcW9MbXFjaUR0amczbFBVTG1ZWGh4Nm1TZ2ROc0srUE9hcGsyTzlIbytBN2hVbXdXdnNZOEw0UVJOQUdIaWx2amhoZm5HeUt0R3ZJbkwvTGkrODFEZWxnTjhDV3RvVUZzeldlVUJHR20rL3NEN3IxWW5WdmNDL1JzZ3E4VHZqZVVzRlJnTjZVNjllS1dma3FnMGR2cjNXQk5FUituMDBzMU9uMVdTOGt4eFZ3MVY1MzhqOUdtWE1wbUtDK1lvRnhFTEhvOWpsRDJPZ0pWaXRuZnloaDlnakJOSlYxYWViZmhlc0ZvQkl5WFg0Nml3Yk8rUWllMHp2UHRiYUFyRlBNQkt6Mk5rc1J4a0p6MHlhRHdxai9NSllBSC9XNlp1clpwL3k0eGFBdUhIQXQxakhqa25HU1k0VzZST1MwSEI1eFE4UmpSYWd2UUdMeVNWMVNJNGMzQ1RwMnloeENPaEpKcE13MjZ6ZWo2Z2lETDhGYjBJVk1zN1ZwM21KTDBjWWRPMFU5bEdCN0R3dFRXNlZPWjRiYnlmUmo3cGRYdkhlYXozR0psT3I4dFJCemdxTWF5VnFxU2hNb3BLdjZpSkhkM091cE1hdEZ5TWdQeHRXVjB0T1dMYW9weXVQOGFLMnd1QUVvN1RXdWxQM3FocFIreEx5OTBEeDRiMWx2SklLd1E5UEVJZG9HYmFrb1hLRkNXZnp6dz09In0sImxvZyI6eyJlZDI1NTE5IjoiRjVRSjE4TWR5cDk0MDViWmh5Nll1Rng1eWZkZ3JSQlRNVThydjFSQ1JKMD0iLCJtbGRzYTQ0IjoiSWVOOGFXL2dTQ0pGdEZhRVhpNjhTcWdQdS93V3laVVV6Z3NjMSs5SCtEMXlVNTdpaHEvUFJQRWZwQjA2NnE5OWluR0ExTHZqMHh0eCtJNFN3TEFENTNiL2x4YjN0WWx6ZjRDK2tzOG11MS9vQlFzVnM1WWhaNWEyYjRCMFlNeHFzcCtmZWRsMXpmMmU3bkh1Vk1oeUdtV2o3NWtVNCtocG8xeXd2emF4ejVFYVFmbnN6TDJlTEVvaURvQ3h2VmNQVW5BRndEcHZCNk9VcDNvZkRFeDV4bFJaK2JGUTlrUGpINlI3TWxUdENIcFJwT1RkOHZwWHBFQ0RzV0t4V3lXSGU2S2ZXZFRJaXhUTmRxYzd2OS9vNEpITzBmVlkxUzJLNXU2TjFNaDFoM2VqTXNkYllkazgyVXF6Sk12M296MzFCOWxERzFPNktMeExzUG9SYUsreFhIaVRWaGl0ODh6ZE1IZHloeWI0WmRSV3FpWEpGRlYzeGp6MHAyOXpxb2FOTDZZVkZjQWw4YXAvT0x3MHE2R2hETk13bGwxbG5jOVluTGc5MEF3a3UrQXdlaFRaSE40d2RWeDJqRE5nRThDRTAwVG12VWlOT01ZSHBJblFKYUNUTWZ0aTIydm1LUFNnNUNZcXZtc2JHdkh1S0haeFVxVmRHNW9aNkp4VFdidlVvS3BzQmxLcnVpYVhxWU56c2djZ05YUXhCQmZuTGRBR2JmRDZ3RG1LclV0R1NxRHU2bHYxZUlmdXZWcDNMa0p1bit6bUI0RzBCTVQ1SjRpVXc4REhnVTRDVCs1bkZMYnkvdzAza3pGM2Z4U2piUzN2UVVJVy9jNnZvdE81R2hGQ1RxWUVqdHNMTVhqcEtmMUJkbGpnYit1RGtJOGRMcUdsMGZYSzQ4OFMvbHR5ZTRzMy8zQ05VYkNpd2YvRnluWmthNjJZakRScEx6ZEczTVlvb2NFc1BTY2NJYzlMUHFybUZLa0tUdk5UNnRiUW10Y1Q4NXNzdTJYcHBlUnlqTTZRY2JKUm50NnZXK1ZvbEZOcDVLcGc1T0F5M2I3S0VsY2djcmZwUVZ2T1BUb1gwcHdBb2NjZzVxUksvOEZLaDVSZEZtRytJdTdXWXV4UlhMUi9waUx3RGMrQWVGMnFkRUNNc0grNE5rbEJ0aDFYWkhISU42Ynk4enNQdHBnc21mczdtR3pQNFNrdGRYTTg2dlk3MlpaM2VOSjEzNmRlZFR1bXNiYm50NlFuNTlKZmFZdkRIdWQzM0NuTHVVVUFGYmN0VWdZYTU1MWFqWXM5NzRrcFFNZ3BXd0U5SWdqUTRzQm1IUjF5RXJwOEhtTWs0OEFsTjF5cmlHdkVSZVhyeFQ1WWJsMVRDLzBGVzQxb2xBam82Y200Q0g1TDhRSldLblhvVEU3Q1BLNDNGWVZaeGhydU9LakU2ekg2S3JWRSt2eTdiZXRpK2xtdGNnQ2tUNzRsMGlGMDZxdlZpOE1sQVRCTVFDbDl6VG50Slp0UzFHSkpzdHB1RnpxVFhqMldvVHFkTHpPSDRYa0tDWjVZY3lJYmxMUytiTlJLREwrbDlGZ2Q0QklGcmJRRnYzUlRxRG0wZ2hIVlRGOWx4MEhUMHpwUGN1c0xsZTkzWkRBWW1hVDJGOTNOV3I3akxxQS9ZVmhVUG11S29KQkhUb0tqM2xpNDBtTlJiWm9sR2hGcWFkd21BN0dtcGl6RlBnUHRaZzB0VGJVU2dSSXVHaWVzeGp5Mnh3V2JYbnBDTFpQd0ZEd0IyYzBabENhNXVTUnpucEM3cWVkcElWOTcvMWNMeUMrNmxkQXIxYWhlbW9PbkdyZlZHaTVPcUpVdjFuTEx3ZHdVREw4TjN4d0dSWGk2K1VOUlBPUlZCRThPdmV1dGJMbGY2U2pwTDBhcjN6Y0JvY1FtamxzTlNqNGF1QXViamhrdXZXQURVNXpoRHhtUUFLY0NGdzJZRGltTW1IU25QdFkzdzZzWG1jd2JYTVRSQjZtcksvWGgwWUtzQXdUdGZNTVJKREhZT2NvRHBQQ2pWaHptTURVM0Q5Zk85V1RhbFVqRzR3NUZKQVMvMmlRcEpHS1JYdEJFNHUyTkk1MTJ1enErK1I4cHdHNXgxQS9ibkp2SVloS2RVd1F5TGpjTXZwbVE4c1c1NHBPd3FsS0VVVXg5aVBsY0hTUTRBNS83UExJVEpzVm1wWjc0NGVvVUgrSVpSWXdZalJJR3lVUk9UTHZrdTN2TEYwMExUeUVNZDhxRVpLTVEzRzZqMjJXRXJES05GUVdsNzkwdmNjUitJMWlaT1ZJSUwyay9XY2xGZi8rbW9GZVJKZz09In19LCJzaWduYXR1cmUiOnsiZWQyNTUxOSI6ImtsWFJTMDk0R2plcWlXZXZOTmlpRDB2VGhDTmg4cWxzQkxUSlJUOGw0VE9aMEV1VXlaVVp4TDAyb1l5NXpLUis5VjRab2lFSnluMzkzY1pMcWxsZEN3PT0iLCJtbGRzYTY1IjoidHptYlZPYTZlYlJjQUFXSUFsTTUzNzI2NDdGdFFpSzdva0JVOFZjS01qVkZ2ejlBcmtGSGE3MHg5RTlzaitpSndkV2pMaURVc0xmelZwYURYZ0sxZUFnWjl1dmdpbGZTWms1TFJqb1BRYnhRVXM3WGdIRGx2K0ZLZmhRNDNJVzlkdVlPR0psWFZXZDFGNW9GMEdzSHplQW9CUWlHbGtzVWREd1ZycG1mak5aQnFHdWZ5M3lKakZWQy9yd24rWnl0c0hIYjJCWFpTTGYwZkVmbFUxQXJuaUw4eWJveFk2VmNkYjcyYkFqdjRNeHpLRTV3cHN3ZlM2MWtST0RXS2w0bWlZdlNNSWJtM0g2azJDVFVDYjJRNmV1R2ZUTjVCdFZER1QzdGUyVXlQWnArc0RhMUZWeUpSMGlHVEp2TGNMSlo4bVhUeDNtM2ZpeExMb3lCZ085NE5wL0prLzA0OXI5MDA1c0o5Z2xhN3d3a0hTTDZDNUZQbFF5ekdYTTJtS2gxejllL2I5czhqNXRWK2FtSzVjWGdrM2NWWGdaYTl5N3BtTUw5OFdIenlVdjJqUXcvTW1jb2E3MFp3UUdiT3Uyb3llZzFqeDU2Wi9yR0NzY3YxVS83S21uWHQ3QmgxMy9ranB2aVhmRzJ2WnM2STJQZWZKN2N4TEcxeTQ3VHJacFhUWCtoVU5BOXZuTzRYVnB3TTR4QW5vTlpmMEIyd0hOa3BvT1VTbTlHY2NDY2JmSWpvckJva25YSTNtSVpvM051dHZqR1prdk9WVW5IeVg4NUt0WlRUb3JpeWdvN0t1WXNQa3Q1NTlvS0hHZHBRSVVhMDJBWDh0Y1AvdFVwTlpJQWxFNmV3ZXdQaG0yWnVnM2VVTXVNb00xc01tSm1MbTMvZFZqb1M4NXdnYTZEZU8zb3FwVzFuSFFJdGFPcklQR1NuUFlhWmtpYnMySlcya1d4U1ZuMHM5WVVOUHNzSTNoOThMM2o1NTVmOWk4K2IyY2ZwWVlCS3IzbzlKeHp5SWNLZ0dwOVhSR29yMitoS1VGMUtGeFpDN0hERDNBdDJPSkJlbEtlL2hqYzVlN0JQenF5aW1xZmhYaUpiaVlwR3ExT0d2SDNFM2J3aGV1ZE5CUC9ER3J2aGpRZzhMNktmYXJ2YjIxdGE4dUVJQlJlNzRhMFdqU2RmTlRJRUdwbHdtSlo1QnN4N0tsekZwZS9YOTlMMUc2bk9NQXJQSFB0OHpyeGgzZnZyeDRLYnNoM1FmSlVDU0l3NHBuSVVKWE40V3RNTVFWU2hRTlVldjhRZVp3U2FHOEkyMUhSY3ozYjVaTXFCdFphOHFScEduQ3ZkZ3JoVmhpaEdPNndrVHBNdEJTYTM3ZGZtQ1lLdzBCUUd6bFNVQ1hJem9xRHkxVEl0YythS2lGeXBIOUZyb212bll4SDE1QkxPa2wwSjB3YnAxSi9LZGcyTUR0Z0FvVDRFdXJ2cERTdWpYZC9YL0FuRFNnYSt1UWF2V3lkTllSQXZsZEhDbXNJeXo3NzM4WFlFUTM0bFdoVTVwUFlRVFBaY2RKRCtBNnk4eEdVSWQ2aDFkUm81ZXdpTGplNUo2RXVmU0tyeXlMM1A4UXE4b2JrUFVEc2hYRyt1ZEhDQllMNjBYT2k2ZEFPMGxGMkREYmVkN1ZaYUN6V3NaamlLTDloRnZoNTlqQUdSckNwQzNkZm1FNTAyVnpVNVhzY1pBRWNmbW1PL0NPRmsrV2J5QytVTnB4bUZBd3lkT25BZWpmYmFKSXU4bSs0NG1sczIxb0VwSFRLYWNNcDZKUmZqcVdhb0RYTmpYS3hVcFEwekZIdTBYOWIrQWRtb09tYU1FN3hUaG9TcDl2Qm5HZGpqQm9lOHYxa2NUK0FWbXVCYWlyTVZYd2JVanZLWWdVVjVTZjNJMzlwMHJBOUdCZGxvV2p1ODQxemVLY3IvSlNDQjFjMlltUUthdWVkWUFrTjN6YmxpWTVoazRZY29ZWUVYNUxhZEI2QTVKQ3lWN1drN1NaRy8yZG9sZzFNUTlSL0dKbXExUVN0TElXdk9aY3J2U1RhQzc1UlduZTJYcnVqdzVYRU9pU1ViKyt1ejRrTEIzeEFMaW9wY0ZFcGlHeGg3Uy8vV256UG03MCtTMmpoWmcreVBhelpDek00V1UvNEpYa01uditjVWg0SnBZNU1IZ0puZ3BDRnk2YW53NS9zdUFJc0NZcGpsVEkvNEl0UTNoWWhuWWRoWUJTa3hMSWNsbmdDRlJuMHJFdVEwUGxCVWJHV1ZrKzczOUxYdU1nQzI0WHVJL2loNzdEa3FlY3d3emdLa0RlVjl6RmRGQWdIaGRoSXF0NzJXQzN6Kzk0U1ZUdFY1QnhscVk2Y3Z6SXlGQ1NKbjFGckFSdXlkTHY5WVJEU1hBaWN0UEQ3L2ZiajgyYjBLc2NobitNWWQrbGEzVEMzdUdibU5RUEVDWEtPdmM3Tk1vUm9ETU1CTGhMZlE0clJhYXk3UnJCNGRNZm9PanJFMDlRMWtnZTlrSGNJMGJYcHFnNVIraUpHYTRZNzNIaVEzc29zRXcwU09jQTM5ZWVVQlFOOVdxRWFNamhtN1BKQ0dsMlpUQk4wWnBmWlp1V2hERldScUw4S1Nvek1LOE1NaUlUTzRhdFpMNWNFeUtBVHc5eGJrN3IvNXorMEsrdlgvd2haaW5VdVVmS3B3TmZCUUp0b2hMK2hDSDZ3QS94K3FhNGVuMW42KzRPeVBZNmFzM1gzRVNlQW1BamU1Mk5KODFGd2ExdUVPV0lRZm1pdVgwSVpjaWIvcW42QUdXQkZUSHBXeHVZRGpNSGdHblphY0hLQUNkcVNDajhmMHlacE5sWldBWXNORE82ajRmUmNmVFQ4dUt6YWNsMndRRnZkRFdPcjhENjVseGF6VmJrVUZHdURaOHRVNmh1RjZPWmRSYWtyNzRYRXBRL3BIS09JYlBJM1h4NDYwQ0RwdVdzRGViaklaRTNkKzNIT2tRbk41NXY3K0ZhQ2tOVTM2ajM1YTkvNXdoS2RZSm4wRHM3MElFdWRvdEQ1a0MySVlQaEVlUE1STGk5WEdzMi9ZQ0ZqK1JobW9OMm4zOTZOTHAwWjJUVHJpbElQL3RFVElnNTh3TkNlNFp6aURWTnFpNlF0L2dmZ3JGZHVqMFZna05vYnFsZGJjWDhoMUdVWW5iaTlSWFlCdjRMMUlYbXROejl6bHhTS3VzcnZJVjZDUWJmZXE1elI1SFFScWlJUTFNMzFPQjJncWR5eks1ejAxNHRGallNZjNjekQya0JLTkZVNDAvbVhYV2VreXBXd0MzQ3JaNzRtWWZucmlPTm9hRk43VXVjeTMxazREdmQwSkZRTWhxSGpJWDZweFoxQUZOamhNd1l2SkZJMG45RTFyRHhvUEZYSm9WbkFKMGZ0QVU0TURQZmJVM0xIc1EvUng3UlZMWWV1dWhwNGxOMUZkRzQ4cjdoQ3lYUjZuaHcxd3c4RmJtczZkZUo0dmVwMmN6djZnMVVOcHZWMEhZZDVqVE9ROVA4M3N2V29HVTlDTVM4TytsUEY1Vk84cmgwc1R0SW0xU2RMQ2lhUTZONWJJd0tnYzZDblEzaEdEdC9qcjVTYVRRTEQ4OXJ6N0JqTjFtcjRCWWVJZ2xUcm9JdmhIVngxc3Q2Nm9LZ25wd3ExWnF4aUF0Ri9LMnNzaTZzZUkvb1lWbTU2R2FKbVdGcXFOaGwwWnpreC9zTG5haUY1ekRGOTNYMVlqK2JwYlhJeEMvUTRaUWNLK3BiM1FqVG9SVUZaaE1OY0ZMc3ZzOUtWV0UyTE9GcFlKaFBud3dFQnJzOXMzYVlXTEdPdmEza0lSZG4rS0pwS0dKVkZBNEt6MHVJYzI0S1ZrWmFPWExRUytGanBZTjYyWXF4T2p3bDloZFQraEpLUWppUkFSUXA3Y2N2SjNaczg2Q2h5REVVbjB5V09pSkhUcmpUZzZONHl3U1grRnUrOUZtM1lNblA1M0lFZHgxbWc4UzVzeW5qWjNOV3Z2aEgySlREbmpnV1dtWGM3ejdkZTFmNnRSeDcxYTZwOURtQ3ZmYzQ3SXlQaHMzdzllYW1ISTB5emgrRHZTWklkbzd2YjcrNEhTMTA4N0oyNWxGVlRSNDAvNktiQ2RGd2lWUDBlOXptVGJpQ0NMcUhLK05rakN2cktmbjRCTS9qTlpnQmF5a0M4aVFhSklzMmExZFFEVkVLUjEyNDlCU2Y2SGovd1NnSEorZGZkTzZVdER5UkVuekovbmlnT2UwYzBrQ2xNZjlhUnpsRGYzTGlsLzVLMWZyU2NSbGRvdi9jUDNXaDhSeE1XWUQ1VmJSRjNYNE1XYzY3OXgwMUZsTWU4YlAvT2hVNzRVSlg2UGRhS2llWXlXQS9Hc0pqZ2NkNmtCK3Frb2VoK0pZd0FBemhxem1nZytSMHBxY2ZGWDVYZVJmcERyb0p3WHZBQWw2TGJOL2VvdE5VOFlMUklLMWxyT2VBSDRqZnRGU3RzTXNHR1R3V0FBdVJSUXBjNXEyZTlXTHZoTHlEQ3V1aDQrNys3T0E5aEFEdHp2WmIrZ2Fkc01rbWVrN2d2ajZ4TU5BMFRqU29INHFOb2NybHFHclYvcDl2Mzh5bjl4Zm5LR2MrWXVSdmhOTlQvdkkvWFNSdlg0YXg3eERYc0FmQ1hnaUJWRWlHL25jVktYeVZHMFpuTnRBR1h3K3pTcXBuaUtaS3BpQWdYKzE1VWVkVTlMUDhDYkg4b2NHeXhXaTE5cGVhRlI1d3VNamxTWmxFemxqTk5vMUg2Sm5ybnBrRTNodG5yQjUrZSt2c05mM1F1MUJRQ2VhQ3VMcmVaMGErQnB0aDQra1RVT3lpOEdvK3h3RXFtS0xzVFliYW5nbG4ydkZJaDJLK1lGVU0zZXhBMktwRFdtOHFQUTdJQ1pnUVdSNXltVnNNTDZwaDZvdGlWaWxQY1BHc3hqNFdBeVMvUTdiR2o2QnU5SExLb3RpTTZUME5wV04wRGF5Q1FZZ29Ub0ZwOTRLMHYxeXZVcUF5SE1jaStlOEJjVGNyblFNWm52RG5HcHlyZEgzNktwbUczMFp0a0xqRkJ0UkJiZ3RzNGtnanJyUlBua0dJVXl1d29TeVdieWFaT0RuQU9XMHF4NTh5SlBObytqNGNuZ3IvaDllc3lHamdlSkI1NVZYclAvNkkvZXcxaHJUQkNIL2o5bVFEVXJ0RUp2UkR5WE1RZXBPbTRuUFB5aTdWalk1dDFSWmNvbFdoUXcvUExSaFZtL1FQcVN4SXBxZUVON2JiN0YvdENOSEE5eVZ6Z0RMdkJ0cWFUbmZ1WVR1YnpvTjJRRks4cGxPRVhGODBWVUlOY2xmUnU0VVorZFBTMTFMb2p5OGo1RjZTQ0FFS1pmN3hjeXZKR3RuaCs5a083K0drOEwwdHMyRlFyaDJ5c3pJZnMzVzQvWjduWkVTR1lHei9IWWk0bDVnUU1TZ3pBSXlJVDZ6NmE5ZFBnc3pxQmpFVnpjdHhTOGFyL3NrTG5ZT1AzUHpHRDNPWmNySW1xYjJhdnRQejZWdnUwNjhjSWxENjg1MUE5KzBhR21WaHdrTzRuMjZQYitWcm9uRkc5RitGS2QvQzgzMTRHenVYd1ZLUFg3T3AySVkySjBEdCtmUmhMRkpZSC9JS1QrWGZFVjhnLzV4U0gvOEZUSjJJZlRZaVZTSWRFdmR5bm5mQlc1elNCam1KUTAyMzZDZjIrci9zaGJ3eDk1dkdBMFpjMmxPSzQ0dm9NSUZod2pPbjhYSVNtc0xHMzRmei9MVGhGV1pLdnN0L3AraXN0YW5GOW82c1pOanRRWFYrQWhySzR3LzhFSUZSbGVxaXp1cnNBQnhBYUlTMDIifX0=',
      signature: 't3q4Kh+36V06BXqeCd6JuxjMKJ++Czkp9oOZcRELkCqD/7XVMgg0niRNNxSFlMYx+or43Iclc7XDjW3qv0nJBA==',
    },
  },
  'GET /v1/health': {
    response: {
      score: 1,
      verdict: 'healthy',
      metrics: [
        {
          name: 'event_loop_delay_p99_ms',
          value: 10.0049,
          better: 'lower',
          score: 1,
        },
      ],
    },
  },
  'GET /v1/invitations': {
    response: {
      invitations: [
        {
          tokenId: '2bc84c417e673f4cfbf3b5250a330b46',
          site: 'st-mary',
          createdMs: 1795745490592,
          expiresMs: 1795831890592,
          autoApprove: false,
        },
      ],
    },
  },
  'GET /v1/keys': {
    response: {
      keys: [
        {
          id: 'ec3aeac7c9ed5fb3',
          name: 'dashboard',
          role: 'viewer',
          department: 'operations',
          dataClass: 'internal',
          createdMs: 1795745490566,
          expiresMs: null,
          revoked: false,
          scopes: ['sites.read'],
        },
      ],
    },
  },
  'GET /v1/lockdown': {
    response: {
      on: false,
      reason: null,
      sinceMs: null,
      by: null,
      count: 0,
      releaseProposal: null,
    },
  },
  'GET /v1/notices': {
    response: {
      notices: [],
    },
  },
  'GET /v1/plans': {
    response: {
      plans: [PLAN],
      kept: 3,
      keptMax: 10000,
    },
  },
  'GET /v1/plans/:queryId': { response: PLAN },
  'GET /v1/policy': {
    response: {
      version: 1,
      policy: {
        chatEnabled: true,
        statisticsEnabled: true,
        microEpsilonMax: 1000000,
      },
    },
  },
  'GET /v1/proposals': {
    response: {
      proposals: [
        {
          id: 'cb91b4bc8dc5ed15',
          kind: 'policy.epsilon',
          summary: 'Relay up to epsilon 1.000001 per query instead of 1',
          payload: {
            microEpsilonMax: 1000001,
          },
          status: 'open',
          proposedBy: 'c848a8dde6182c539cf7b6ae081c9b3e',
          proposedMs: 1795745490663,
          expiresMs: 1795831890663,
          decidedBy: null,
          decidedMs: null,
          signature: null,
          version: 1,
        },
      ],
    },
  },
  'GET /v1/proposals/:id': {
    response: {
      id: 'cb91b4bc8dc5ed15',
      kind: 'policy.epsilon',
      summary: 'Relay up to epsilon 1.000001 per query instead of 1',
      payload: {
        microEpsilonMax: 1000001,
      },
      status: 'open',
      proposedBy: 'c848a8dde6182c539cf7b6ae081c9b3e',
      proposedMs: 1795745490663,
      expiresMs: 1795831890663,
      decidedBy: null,
      decidedMs: null,
      signature: null,
      version: 1,
    },
  },
  'GET /v1/roles': {
    response: {
      roles: [
        {
          role: 'admin',
          grants: ['all'],
        },
      ],
      table: [
        {
          role: 'admin',
          operation: 'self.read',
          highestDataClass: 'restricted',
        },
      ],
    },
  },
  'GET /v1/sessions': {
    response: {
      sessions: [
        {
          id: 'bdefd91fdd337e9b6beddc3b5a194c28',
          account: 'a787b14f3b0c76e3',
          username: 'alice',
          method: 'password',
          createdMs: 1795745489798,
          usedMs: 1795745490232,
          expiresMs: 1795774289798,
        },
      ],
    },
  },
  'GET /v1/settings': {
    response: {
      environment: 'production',
      logLevel: 'info',
      planning: {
        strategy: 'adaptive',
        queueFactor: 1,
      },
      tasks: {
        parallelMax: 8,
        timeoutMs: 3600000,
      },
      accounts: {
        tokenAlgorithm: 'RS256',
        tokenLifeMs: 3600000,
        sessionLifeMs: 28800000,
        sessionIdleMs: 1800000,
        passwordLengthMin: 12,
        failuresMax: 5,
        lockedMs: 1800000,
        secondFactorRoles: ['admin'],
        providers: [],
      },
      adminAllowedAddresses: [],
      notifications: {
        webhooks: 0,
        smtp: false,
      },
    },
  },
  'GET /v1/sites': {
    response: {
      sites: [
        {
          site: 'hill-university',
          status: 'approved',
          fingerprint: '2q5g-kd3y-dv1d-f6pt',
          joinedMs: 1795745449180,
          approvedMs: 1795745449191,
          revokedMs: null,
          online: true,
          connectedMs: 1795745449769,
          models: [
            {
              id: 'extractive-local',
              slots: 8,
              inFlight: 0,
              waiting: 0,
              firstTokenMs: null,
              serviceMs: null,
              emergencySlots: 0,
              tokensMax: null,
              tokensInUse: 0,
              tokenPriceMicros: null,
            },
          ],
          budgetTenths: 10,
        },
      ],
    },
  },
  'GET /v1/rounds': { response: { rounds: [ROUND] } },
  'GET /v1/rounds/:id': { response: ROUND },
  'GET /v1/tasks': {
    response: {
      tasks: [
        {
          id: '01a21ac5a8406e4ef5da2badaf467445',
          kind: 'quantum',
          state: 'running',
          version: 2,
          priority: 4,
          dependsOn: [],
          resources: {
            slots: 1,
            tokens: null,
            microEpsilon: null,
          },
          createdMs: 1795745491007,
          queuedMs: 1795745491007,
          notBeforeMs: null,
          startedMs: 1795745491061,
          endedMs: null,
          deadlineMs: null,
          timeoutMs: 3600000,
          attempts: 1,
          attemptsMax: 3,
          delivery: 'at_least_once',
          site: null,
          reference: null,
          createdBy: 'operator',
          failure: null,
          progress: null,
          result: null,
        },
      ],
      next: '01a21ac5a8406e4ef5da2badaf467445',
    },
  },
  'GET /v1/tasks/:id': {
    response: {
      id: '01a21ac5a8406e4ef5da2badaf467445',
      kind: 'quantum',
      state: 'running',
      version: 2,
      priority: 4,
      dependsOn: [],
      resources: {
        slots: 1,
        tokens: null,
        microEpsilon: null,
      },
      createdMs: 1795745491007,
      queuedMs: 1795745491007,
      notBeforeMs: null,
      startedMs: 1795745491061,
      endedMs: null,
      deadlineMs: null,
      timeoutMs: 3600000,
      attempts: 1,
      attemptsMax: 3,
      delivery: 'at_least_once',
      site: null,
      reference: null,
      createdBy: 'operator',
      failure: null,
      progress: null,
      result: null,
    },
  },
  'GET /v1/tasks/export': {
    response: {
      v: 1,
      federation: 'demo',
      createdMs: 1795745491160,
      page: 0,
      previousTag: '',
      last: true,
      next: null,
      tasks: [
        '{"task":{"v":1,"id":"01a21ac5a8406e4ef5da2badaf467445","kind":"quantum","state":"running","version":2,"priority":4,"depe…',
      ],
      tag: '5f5b63e4104ddcda71d8609e29099b33dacd6462de554940c807e0821ca71fcf',
    },
  },
  'GET /v1/usage': {
    response: {
      fromMs: 0,
      toMs: 1795745490630,
      sites: [
        {
          site: 'hill-university',
          asked: 0,
          askedFailed: 0,
          candidate: 3,
          sessions: 1,
        },
      ],
    },
  },
  'PATCH /v1/accounts/:id': {
    body: {
      role: 'nurse',
    },
    response: {
      id: 'b14bb54ecf826b4d',
      username: 'carol',
      role: 'nurse',
      department: 'operations',
      dataClass: 'internal',
      status: 'active',
      secondFactor: false,
      provider: null,
      locked: false,
      createdMs: 1795745490425,
      lastSignInMs: null,
      version: 2,
    },
  },
  'POST /security/audit/erase': {
    body: {
      person: 'alice',
    },
    response: {
      entries: 3,
      index: 1207,
    },
  },
  'POST /security/audit/holds': {
    body: {
      ground: 'litigation 2026/17',
      fromIndex: 0,
    },
    response: {
      id: 'f9c33a0e1c5135c1',
      ground: 'litigation 2026/17',
      subject: null,
      fromIndex: 0,
      placedMs: 1795745491593,
    },
  },
  'POST /security/audit/prune': {
    body: {
      dryRun: true,
    },
    response: {
      dryRun: true,
      minimumIndex: 0,
      entriesPruned: 0,
      detailBelow: 0,
      heldBy: [],
    },
  },
  'POST /v1/accounts': {
    body: {
      username: 'alice',
      role: 'admin',
    },
    response: {
      account: {
        id: 'a787b14f3b0c76e3',
        username: 'alice',
        role: 'admin',
        department: 'operations',
        dataClass: 'restricted',
        status: 'active',
        secondFactor: false,
        provider: null,
        locked: false,
        createdMs: 1795745489736,
        lastSignInMs: null,
        version: 1,
      },
      oneTimePassword: 'xxxxxx-xxxxxx-xxxxxx-xxxxxx',
    },
  },
  'POST /v1/accounts/:id/reset': {
    response: {
      oneTimePassword: 'xxxxxx-xxxxxx-xxxxxx-xxxxxx',
    },
  },
  'POST /v1/accounts/:id/unlock': {
    response: {
      id: 'b14bb54ecf826b4d',
      username: 'carol',
      role: 'nurse',
      department: 'operations',
      dataClass: 'internal',
      status: 'active',
      secondFactor: false,
      provider: null,
      locked: false,
      createdMs: 1795745490425,
      lastSignInMs: null,
      version: 2,
    },
  },
  'POST /v1/audit/export': {
    body: {
      ground: 'yearly audit',
    },
  },
  'POST /v1/audit/incident': {
    body: {
      fromMs: 1795741891616,
      toMs: 1795745491616,
    },
    response: {
      report: {
        format: 'qfl-incident-report/1',
        federation: 'demo',
        createdMs: 1795745491624,
        fromMs: 1795741891616,
        toMs: 1795745491616,
        counts: [
          {
            action: 'account.changed',
            outcome: 'begun',
            entries: 2,
          },
        ],
        timeline: [
          {
            index: 0,
            timeMs: 1795745438506,
            action: 'program.start',
            outcome: 'ok',
            actor: null,
            role: null,
            objects: [],
          },
        ],
        timelineCut: false,
        sitesInvolved: ['hill-university'],
        awareMs: null,
        notifyByMs: null,
        logSize: 59,
        logRoot: 'CGjb+df76TFoMUctuUFxGkex2GCyPejk17qGhfro2XM=',
      },
      note: 'qfl-incident-report/1\nC4l4OoiENuEjuqobWUTFEiwCcXBcdXmvVa9X73k6NWQ=\n\n— qfl/demo/audit v9zMWVQ/rjADT2r0AhyCE0nNnZ0sUWWXKdO2GFalJEXpRg5v8KyZlcxdVW3w7/0zV4VFCZyQ4B9+Hq6MREN62NOelgg=\n',
      noticeDraft: '# DRAFT: notification of a personal data breach (GDPR Art. 33)',
    },
  },
  'POST /v1/audit/person': {
    body: {
      account: 'alice',
    },
    response: {
      report: {
        format: 'qfl-person/1',
        federation: 'demo',
        createdMs: 1795745491829,
        ground: 'GDPR Art. 15',
        account: {
          id: 'a787b14f3b0c76e3',
          username: 'alice',
          pseudonym: 'c848a8dde6182c539cf7b6ae081c9b3e',
          role: 'admin',
          department: 'operations',
          dataClass: 'restricted',
          status: 'active',
          secondFactor: true,
          identityProvider: null,
          createdMs: 1795745489736,
          lastSignInMs: 1795745489816,
        },
        entries: [
          {
            entry: {
              v: 1,
              id: '01M8DCB8VWWD0PF9XHFST2HBY8',
              timeMs: 1795745489788,
              counter: 27,
              bootId: '883fd03aef540b75d39a9c1cfe44a9b6',
              source: 'coordinator',
              actor: 'c848a8dde6182c539cf7b6ae081c9b3e',
              role: 'admin',
              action: 'account.signed_in',
              outcome: 'ok',
              objects: [
                {
                  kind: 'account',
                  id: 'a787b14f3b0c76e3',
                },
              ],
              purpose: null,
              classification: null,
              session: null,
              requestId: null,
              cost: null,
              detail: null,
            },
            detail: null,
          },
        ],
        cut: false,
        source: 'entered by an administrator or by the person; entries were written as the person acted',
        purposes: ['to let this person in, and only this person'],
        recipients: ['administrators and auditors of the federation'],
        retentionDays: {
          logEntries: 3650,
          personalDetail: 2555,
        },
        rights: [
          'rectification, erasure, restriction and objection (GDPR Art. 16–18, 21): detail beside the log is erasable; entries hold a pseudonym only and stay while a duty to keep records stands',
        ],
        logSize: 64,
        logRoot: 'ZQ0fY5x5xYlb84FhpdGIBuTlX5kgjKhCwxQk0iVJX1o=',
      },
      note: 'qfl-person/1\nRawSroS+76AKDzYh0+UNR26o8dFPQsgy1yuERYbuTTY=\n\n— qfl/demo/audit v9zMWXqMxSQzSShVS4rqTeXx1q4Q5Yf6pGacqmQJUZk4kezaQqa+aeuL4y6WlmXQa83N71P0vHY0rffL9qvSDrbK2wc=\n',
    },
  },
  'POST /v1/audit/report': {
    body: {
      kind: 'monthly',
      fromMs: 1795741891882,
      toMs: 1795745491882,
    },
    response: {
      report: {
        format: 'qfl-compliance-report/1',
        kind: 'monthly',
        federation: 'demo',
        organisation: null,
        createdMs: 1795745491888,
        fromMs: 1795741891882,
        toMs: 1795745491882,
        counts: [
          {
            action: 'account.changed',
            outcome: 'begun',
            entries: 2,
          },
        ],
        entries: 64,
        security: 26,
        usage: {
          fromMs: 1795741891882,
          toMs: 1795745491882,
          sites: [
            {
              site: 'coordinator',
              asked: 0,
              askedFailed: 0,
              candidate: 0,
              sessions: 0,
            },
          ],
        },
        budgets: {
          authority:
            'each site enforces and records its own budget and raises it by two of its own people; these are hints for planning',
          microEpsilonMax: 1000001,
          raises: null,
          sites: [
            {
              site: 'hill-university',
              siteLifetimeTenthsLeft: 10,
            },
          ],
        },
        accounts: {
          active: 3,
          disabled: 0,
          withSecondFactor: 2,
          programKeys: 0,
        },
        logSize: 65,
        logRoot: 'mGUy1uB7tmZ0fBs1IrbsdYNfyydd7nl11msDKZN6T48=',
      },
      note: 'qfl-compliance-report/1\noqjKL6piQ14tOgMXsdT+L5X5QxWZom3K0ayOVXWfcqA=\n\n— qfl/demo/audit v9zMWQTq9xWAGsxk3c1aQVq4J2X/MDMG0yc4xDQ5B8qQuKmFsJZAC9bx8/UiHHqpIEPLOmLrKqE6NGuiuj3TRsZd4A4=\n',
      text: '# Compliance report 2026-11\n\nFederation "demo". Period: 2026-11-27T01:11:31.882Z to 2026-11-27T02:11:31.882Z (UTC). Entr…',
    },
  },
  'POST /v1/auth/login': {
    body: {
      username: 'alice',
      password: 'a sentence of several words, 1',
    },
    response: {
      tokenType: 'Bearer',
      accessToken: 'eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIuLi4ifQ.c2lnbmF0dXJl',
      accessExpiresMs: 1795749090000,
      refreshToken: 'qflr_bdefd91fdd337e9b6beddc3b5a194c28_0_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx',
      refreshExpiresMs: 1795774289798,
      session: 'bdefd91fdd337e9b6beddc3b5a194c28',
      restricted: true,
      mustChangePassword: true,
    },
  },
  'POST /v1/auth/logout': {
    response: {
      ok: true,
    },
  },
  'POST /v1/auth/password': {
    body: {
      current: 'one-time',
      next: 'a sentence of several words, 1',
    },
    response: {
      ok: true,
    },
  },
  'POST /v1/auth/providers/exchange': {
    body: {
      code: '…',
      verifier: '…',
    },
    response: {
      tokenType: 'Bearer',
      accessToken: 'eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIuLi4ifQ.c2lnbmF0dXJl',
      accessExpiresMs: 1795749090000,
      refreshToken: 'qflr_bdefd91fdd337e9b6beddc3b5a194c28_0_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx',
      refreshExpiresMs: 1795774289798,
      session: 'bdefd91fdd337e9b6beddc3b5a194c28',
      restricted: true,
      mustChangePassword: true,
    },
  },
  'POST /v1/auth/refresh': {
    body: {
      refreshToken: 'qflr_588d66e751523fdeb456358fc7e6a34e_0_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx',
    },
    response: {
      tokenType: 'Bearer',
      accessToken: 'eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIuLi4ifQ.c2lnbmF0dXJl',
      accessExpiresMs: 1795749090000,
      refreshToken: 'qflr_588d66e751523fdeb456358fc7e6a34e_1_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx',
      refreshExpiresMs: 1795774290172,
      session: '588d66e751523fdeb456358fc7e6a34e',
      restricted: false,
      mustChangePassword: false,
    },
  },
  'POST /v1/auth/setup': {
    body: {
      code: 'qflsetup_…',
      username: 'alice',
      password: 'a sentence of several words, 1',
    },
    response: {
      id: 'a787b14f3b0c76e3',
      username: 'alice',
      role: 'admin',
      department: 'operations',
      dataClass: 'restricted',
      status: 'active',
      secondFactor: true,
      provider: null,
      locked: false,
      createdMs: 1795745489736,
      lastSignInMs: 1795745489816,
      version: 5,
    },
  },
  'POST /v1/auth/totp': {
    response: {
      secret: 'JBSWY3DPEHPK3PXP',
      uri: 'otpauth://totp/qfl%20demo:alice?secret=JBSWY3DPEHPK3PXP&issuer=qfl%20demo',
    },
  },
  'POST /v1/auth/totp/confirm': {
    body: {
      code: '123456',
    },
    response: {
      recoveryCodes: ['6c4ag-pvk9y'],
    },
  },
  'POST /v1/auth/totp/remove': {
    body: {
      code: '123456',
    },
    response: {
      ok: true,
    },
  },
  'POST /v1/directory/keys/master': {
    body: {
      file: null,
    },
    response: {
      source: 'file',
    },
  },
  'POST /v1/directory/keys/rotate': {
    body: {
      what: 'kem',
    },
    response: {
      program: 'coordinator',
      name: 'coordinator',
      fingerprint: 'e94940f1ae48c648312dd88c85f14f6bb84bae2c601cfa8cc6c862264b6a7780',
      phrase: 'x54m-1wde-9334-gc9d',
      standing: 'in_force',
      identitySinceMs: 1795745491671,
      pastIdentities: [],
      epochs: [
        {
          epoch: 1,
          fromMs: 1795745491671,
          toMs: 1804126291671,
          held: true,
        },
      ],
      nextEpochMs: 1802225491671,
      prekeys: [],
      recovering: null,
    },
  },
  'POST /v1/invitations': {
    body: {
      site: 'st-mary',
    },
    response: {
      site: 'st-mary',
      token: 'qfljoin1.…',
      expiresMs: 1795831890592,
      autoApprove: false,
    },
  },
  'POST /v1/keys': {
    body: {
      name: 'dashboard',
      role: 'viewer',
      scopes: ['sites.read'],
    },
    response: {
      key: 'qfl_ec3aeac7c9ed5fb3_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx',
      record: {
        id: 'ec3aeac7c9ed5fb3',
        name: 'dashboard',
        role: 'viewer',
        department: 'operations',
        dataClass: 'internal',
        createdMs: 1795745490566,
        expiresMs: null,
        revoked: false,
        scopes: ['sites.read'],
      },
    },
  },
  'POST /v1/lockdown': {
    body: {
      reason: 'a stolen laptop',
    },
    response: {
      on: true,
      reason: 'a stolen laptop',
      sinceMs: 1795745449191,
      by: '00000000000000000000000000000000',
      count: 1,
      releaseProposal: null,
    },
  },
  'POST /v1/proposals': {
    body: {
      kind: 'policy.epsilon',
      payload: {
        microEpsilonMax: 1000001,
      },
    },
    response: {
      id: 'cb91b4bc8dc5ed15',
      kind: 'policy.epsilon',
      summary: 'Relay up to epsilon 1.000001 per query instead of 1',
      payload: {
        microEpsilonMax: 1000001,
      },
      status: 'open',
      proposedBy: 'c848a8dde6182c539cf7b6ae081c9b3e',
      proposedMs: 1795745490663,
      expiresMs: 1795831890663,
      decidedBy: null,
      decidedMs: null,
      signature: null,
      version: 1,
    },
  },
  'POST /v1/proposals/:id/approve': {
    response: {
      id: 'cb91b4bc8dc5ed15',
      kind: 'policy.epsilon',
      summary: 'Relay up to epsilon 1.000001 per query instead of 1',
      payload: {
        microEpsilonMax: 1000001,
      },
      status: 'done',
      proposedBy: 'c848a8dde6182c539cf7b6ae081c9b3e',
      proposedMs: 1795745490663,
      expiresMs: 1795831890663,
      decidedBy: 'bba9081827cb8d39b6345ea4886f61c7',
      decidedMs: 1795745490674,
      signature: {
        ed25519: '20w5WgnB0vJLttNWfpzXGsNxg844IjaYBxsxIEYo8F1KX/HnLDrmzdaO2kKxcvqqcZOSffbowg/cRWICLqgtDA==',
        mldsa65: '0HkNAaImnHsHZ0X+MBGB0Ue7Zfwx8mJe7u1EGtHdgDSzsTMfjOnA6G0nsFEUz+pr',
      },
      version: 2,
    },
  },
  'POST /v1/proposals/:id/refuse': {
    response: {
      id: '1c24bd07bc1b3b8b',
      kind: 'policy.epsilon',
      summary: 'Relay up to epsilon 1.000002 per query instead of 1.000001',
      payload: {
        microEpsilonMax: 1000002,
      },
      status: 'refused',
      proposedBy: 'c848a8dde6182c539cf7b6ae081c9b3e',
      proposedMs: 1795745490951,
      expiresMs: 1795831890951,
      decidedBy: 'bba9081827cb8d39b6345ea4886f61c7',
      decidedMs: 1795745490962,
      signature: null,
      version: 2,
    },
  },
  'POST /v1/sites/:site/approve': {
    body: {
      fingerprint: '2q5g-kd3y-dv1d-f6pt',
    },
    response: {
      site: 'hill-university',
      status: 'approved',
      fingerprint: '2q5g-kd3y-dv1d-f6pt',
      joinedMs: 1795745449180,
      approvedMs: 1795745449191,
      revokedMs: null,
      online: true,
      connectedMs: 1795745449769,
      models: [
        {
          id: 'extractive-local',
          slots: 8,
          inFlight: 0,
          waiting: 0,
          firstTokenMs: null,
          serviceMs: null,
          emergencySlots: 0,
          tokensMax: null,
          tokensInUse: 0,
          tokenPriceMicros: null,
        },
      ],
      budgetTenths: 10,
    },
  },
  'POST /v1/sites/:site/revoke': {
    body: {
      reason: 'stolen machine',
    },
    response: {
      site: 'hill-university',
      status: 'revoked',
      fingerprint: '2q5g-kd3y-dv1d-f6pt',
      joinedMs: 1795745449180,
      approvedMs: 1795745449191,
      revokedMs: 1795745449191,
      online: false,
      connectedMs: 1795745449769,
      models: [
        {
          id: 'extractive-local',
          slots: 8,
          inFlight: 0,
          waiting: 0,
          firstTokenMs: null,
          serviceMs: null,
          emergencySlots: 0,
          tokensMax: null,
          tokensInUse: 0,
          tokenPriceMicros: null,
        },
      ],
      budgetTenths: 10,
    },
  },
  'POST /v1/rounds': {
    body: {
      data: { target: '44054006', features: [{ kind: 'age' }, { kind: 'condition', code: '38341003' }] },
      epsilon: 2,
      rounds: 5,
    },
    response: TRAINING,
  },
  'POST /v1/rounds/:id/cancel': {
    response: { ...ROUND, phase: 'aborted', survivors: [], sumHash: null, why: 'somebody cancelled it' },
  },
  'POST /v1/tasks': {
    body: {
      spec: {
        kind: 'quantum',
        job: {
          type: 'chsh',
          seed: 7,
        },
      },
    },
    response: {
      tasks: [
        {
          id: '01a21ac5a8406e4ef5da2badaf467445',
          kind: 'quantum',
          state: 'running',
          version: 2,
          priority: 4,
          dependsOn: [],
          resources: {
            slots: 1,
            tokens: null,
            microEpsilon: null,
          },
          createdMs: 1795745491007,
          queuedMs: 1795745491007,
          notBeforeMs: null,
          startedMs: 1795745491061,
          endedMs: null,
          deadlineMs: null,
          timeoutMs: 3600000,
          attempts: 1,
          attemptsMax: 3,
          delivery: 'at_least_once',
          site: null,
          reference: null,
          createdBy: 'operator',
          failure: null,
          progress: null,
          result: null,
        },
      ],
      repeated: false,
    },
  },
  'POST /v1/tasks/:id/cancel': {
    response: {
      id: '01a21ac5a888220bfd3f2a2d0b36499f',
      kind: 'quantum',
      state: 'cancelled',
      version: 3,
      priority: 4,
      dependsOn: [],
      resources: {
        slots: 1,
        tokens: null,
        microEpsilon: null,
      },
      createdMs: 1795745491080,
      queuedMs: 1795745491080,
      notBeforeMs: null,
      startedMs: 1795745491131,
      endedMs: 1795745491137,
      deadlineMs: null,
      timeoutMs: 3600000,
      attempts: 1,
      attemptsMax: 3,
      delivery: 'at_least_once',
      site: null,
      reference: null,
      createdBy: 'operator',
      failure: {
        reason: 'cancelled',
        code: 'cancelled',
        detail: 'it was cancelled',
        next: null,
        dependency: null,
      },
      progress: null,
      result: null,
    },
  },
  'GET /v1/experiments': { response: { experiments: [EXPERIMENT], next: null } },
  'GET /v1/experiments/:id': {
    response: {
      ...EXPERIMENT,
      steps: MODEL_RECORD.metrics,
      rounds: [MODEL_RECORD.lineage.rounds[0].round],
      curves: [
        { name: 'loss', points: [{ step: 1, value: 0.61 }] },
        { name: 'accuracy', points: [{ step: 1, value: 0.71 }] },
      ],
    },
  },
  'GET /v1/registry': {
    response: {
      models: [
        {
          name: 'logistic-44054006',
          versions: 3,
          latest: 3,
          production: 3,
          staging: null,
          updatedMs: 1795745499120,
        },
      ],
      next: null,
    },
  },
  'GET /v1/registry/:name/versions': { response: { versions: [MODEL_SUMMARY], next: null } },
  'GET /v1/registry/:name/versions/:version': { response: MODEL_SHOWN },
  'GET /v1/registry/:name/versions/:version/record': {
    response: { text: '{"bytes":184,"createdMs":1795745493044,…}', signature: MODEL_SIGNATURE },
  },
  'POST /v1/registry/:name/versions/:version/promote': {
    body: { stage: 'production' },
    response: MODEL_SHOWN,
  },
  'POST /v1/registry/:name/rollback': { response: MODEL_SHOWN },
  'DELETE /v1/registry/:name/versions/:version': { response: { ...MODEL_SUMMARY, stage: 'archived' } },
  'POST /v1/tasks/import': {
    body: {
      v: 1,
      federation: 'demo',
      createdMs: 1795745491160,
      page: 0,
      previousTag: '',
      last: true,
      next: null,
      tasks: [
        '{"task":{"v":1,"id":"01a21ac5a8406e4ef5da2badaf467445","kind":"quantum","state":"running","version":2,"priority":4,"depe…',
      ],
      tag: '5f5b63e4104ddcda71d8609e29099b33dacd6462de554940c807e0821ca71fcf',
    },
    response: {
      added: 1,
      unchanged: 0,
      kept: [],
      unknown: 0,
      applied: true,
    },
  },
  'PUT /v1/policy': {
    body: {
      version: 1,
      policy: {
        chatEnabled: true,
        statisticsEnabled: true,
        microEpsilonMax: 1000000,
      },
    },
    response: {
      version: 2,
      policy: {
        chatEnabled: true,
        statisticsEnabled: true,
        microEpsilonMax: 1000000,
      },
    },
  },
};
