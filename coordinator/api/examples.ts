/** Bodies and answers of the API document, taken from a running federation and shortened. A test holds each against the schema of its route. */
import type { Examples } from '../../shared/http/openapi.ts';

export const EXAMPLES: Examples = {
  'DELETE /security/audit/holds/:id': {
    response: {
      released: 'b2e6967b55cf59da',
    },
  },
  'DELETE /v1/keys/:id': {
    response: {
      id: '6d484f76c74439f3',
      name: 'dashboard',
      role: 'viewer',
      department: 'operations',
      dataClass: 'internal',
      createdMs: 1795743228132,
      expiresMs: null,
      revoked: true,
      scopes: ['sites.read'],
    },
  },
  'DELETE /v1/sessions': { response: { sessions: 4, keys: 0 } },
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
          n: 'ngNccf6G6E8vSBBmo4AIvBWMnGofotPUst49IVgzXlc2u7sUJ83s8WwgLITL11DWV7GVuZzBjeFOt_X3LQtHakQ-toMLzLrLlAhv14TNQWL7dCQkXcwKH6dZ5UloL0qbeskHJkZDPT42x07nH-3dQs4AAE32anKhnxDHDk8-BEZLPgtCXEepaL_rR_vvApI1qBeMEw5L0eSN_3n9oFsRB3jEon-TbKEh7h_ZxLtrB6uOLqjdGu5EwvYuYiKL0u0EaOWt1rejFvh4XnJaP-nzNFSYT0KA3MHq4K0xWXLTDLUWZEAl5lXnai9NrVcOcvhVSTaC7eWGIZZfpce6HeRVDQ',
          e: 'AQAB',
          kid: 'bfcdd7420182c74e',
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
          siteLifetimeTenthsLeft: 9,
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
          siteLifetimeTenthsLeft: 9,
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
          site: 'north-hospital',
          ageMs: 1744.52,
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
      independent: 256,
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
        planningP95Seconds: 0.00394085,
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
          id: '01M8DA68KA6ZMFNXX7M8BPVB8B',
          timeMs: 1795743228522,
          counter: 71,
          bootId: '5a10b10afa2850c3c02a40dbb6441815',
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
      next: 71,
      size: 72,
      minimumIndex: 0,
    },
  },
  'GET /security/audit/:index': {
    response: {
      entry: {
        v: 1,
        id: '01M8D9B59ASHC0ZK5MHJX0R888',
        timeMs: 1795742340394,
        counter: 3,
        bootId: '619017f1cba54a9c86f197075878edfc',
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
      leaf: '{"action":"site.invited","actor":null,"bootId":"619017f1cba54a9c86f197075878edfc","classification":null,"cost":null,"counter":3,"detail":null,"id":"01M8D9B59ASHC0ZK5MHJX0R888","objects":[{"id":"hill-university","kind":"site"}],"outcome":"ok","purpose":null,"requestId":null,"role":"operator","session":null,"source":"coordinator","timeMs":1795742340394,"v":1}',
      detail: null,
      proof: {
        index: 3,
        size: 73,
        path: [],
        checkpoint:
          'qfl/demo/audit\n73\nE7pJrO4BiH9AoYBUCm8Wn7gROG4FXm5QHwvXqQyOYj0=\n\n— qfl/demo/audit BptwIZwzY9BjpcAy4c4KnmAshONwWtwWqYG+XUB…',
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
      uptimeMs: 58277,
      sites: [
        {
          site: 'hill-university',
          status: 'approved',
          online: true,
        },
      ],
      directorySize: 7,
      auditSize: 52,
    },
  },
  'GET /v1/accounts': {
    response: {
      accounts: [
        {
          id: '237939656bf66f9c',
          username: 'alice',
          role: 'admin',
          department: 'operations',
          dataClass: 'restricted',
          status: 'active',
          secondFactor: true,
          provider: null,
          locked: false,
          createdMs: 1795743227140,
          lastSignInMs: 1795743227203,
          version: 5,
        },
      ],
      next: 'alice',
    },
  },
  'GET /v1/accounts/:id': {
    response: {
      id: '237939656bf66f9c',
      username: 'alice',
      role: 'admin',
      department: 'operations',
      dataClass: 'restricted',
      status: 'active',
      secondFactor: true,
      provider: null,
      locked: false,
      createdMs: 1795743227140,
      lastSignInMs: 1795743227203,
      version: 5,
    },
  },
  'GET /v1/auth/me': {
    response: {
      kind: 'account',
      id: '237939656bf66f9c',
      name: 'alice',
      role: 'admin',
      department: 'operations',
      dataClass: 'restricted',
      scopes: null,
      session: '914d803c95c693cfb8ef38471e6a1f47',
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
          id: '914d803c95c693cfb8ef38471e6a1f47',
          account: '237939656bf66f9c',
          username: 'alice',
          method: 'password',
          createdMs: 1795743227200,
          usedMs: 1795743227980,
          expiresMs: 1795772027200,
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
          siteLifetimeTenthsLeft: 9,
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
        'qfl/demo/keys+d7ad471c+Ac1jfgp1CRjxYwE9q7lkRWugJx0/z0HN4RAhzRNSWQFI',
        'qfl/demo/keys+6a56daef+Br8Kpr5AQ/o9toUJXnp/6iMy/8/xFP8q9i2jSKxas1EQ4jBBTD3Cex3RL9W79ty9ojN78Uf1rzRnFOGkeJwlXY1qmrpW8cTFSrVehE5y1duwndF1ODfwfTxG646WrjWzFOuQSPW2gmPaf5wye68xhSboBZSQxgTt4jHEvXSzuOEH39uiHGq/sr57C085jrj2nFpQLDd8NAvT0DxXn+G3m7c566r4Y5Av1i37+kkbmFlEEmrzAuRzGNa+HIEGv+T1PG4WhDVmoyCA61zU+wJ337hPEtGbHlZnEwtqbsJwOhsUUFY5hchFHIhPIGE1XuMAXYb7soN20X2qaDdnwWKbiG6ihgAnj6WrjA6uSjG14GqJMSaNfnGQCg6ALU5U6gVrvunjUWuUNiuSYiZLfzZgkTVxra4y/ypNYR+CvgvyN8qwl1YzasOXqRtTahFtKxtS84wcCrYo4vK8hwY+dgGki0FjWE2u6xvzu+7RyyXL6A8Ol/DSvSdwMKAgEDn3X55sQNzUUXJY0O5CR8zdthpfKJk+qC/dCUoARdFViZFSJCm5LvBCSr3DqohN/eJFozlsl0atbE1FTyPUU3YdHEuvR42KoO57k45Ygs4XZ5n6WtUZWnp82EVQOUfA8Zq0OGMVJ6FimQjs8rm7LcnjQ3fdNRWfeaQuMktOYAzqcNoeOQJc6SDuheu7AvHIZD9/B1OLaCa6yAXItUfljMmlfYCxj/dW0cmFEWq7D/KZ1uhYV/pLnQuEsy1+8A92BT63d86lMTyg8W3aljYifZ+8GHWsexr1aeAgXjZBFfclA7ph9F0+rs4mdP5OGQ5wBZROlJTvUAahZ8cGlroOt25/pxyA198ctfZHHFrc+aJJ23IYS+l/G4JYMyx05HBNg6BQhd8fnWE5IZ9UzFmRa+BjBPmMj360tFEn1DbzCqB/FWSyX6UnWjMzkHKfCuMCWqSYQV/uX954CoTSli70UaSBMAfi4igDn280u8DWzoPdQnaca5UI8d68mG1I4B4XAMpALDgjjVw50FHZ7ccPPhSJpMxUORANxJ2QU5r7Blyo5FMeyfhKGAOP2t0vHMUgKm9OmUHKcjPo/djf8orILWIcpm2csH79oD+YhJN8b/Cd5IWYx8bo6nXzhtAIxnhTgwE+YyRMmtIEIbaFaq6HsoJjZh22ugcr8HbOzdQ4DPZWJ8uT4+SfyEX4vI8daPTt2Jz0N9MIpd3N1dR3odX5rSrl8JWgnN3L876kI0pey3AH61F4n8zY65rAoyoaH0MBVbvmU8Ws8YuA52WEhq8PrfoTOrY4DnkXADcXtSDN+/F0QnrfMhSZON79XmZuuqDPG8JcIpUuuGOH4oWWW5MJnGdd8n6vdWBN7P+VTTtqmV/TAXlq52QJjNay/vKrtV9ktVMLkKHoe/Ox7ugOtCPn6mciwLUojUC/hVGqA8f2/Ab6O96mgw/Sk1K3rgo99F274g+wiTR64j5wSduQQfeWZHWooIfkmaH5qk3L1hu09E8xwEBpFPflXwaL4fS8eOyIa4TUKhJeD8kEDn4E8XlOVqivHpQBgwCj+AxuZtVs9PC0vSXjOC5eML/okh0VlVbjUo40LurSBi7ihDEGAk6FxR3+Mdu9fysEVvlcBmtvmdjld7puMVAG3csfIinkxe8ZOAoWaivM+B6FisholtgrrzF+WFM8CHdJIoHLuj/t1D4E/hCkuur2ib+fFRUgMMUiHxLgNETjXxYbE5pdiVuxoYx1QCLi49E=',
      ],
      auditVerifierKeys: [
        'qfl/demo/audit+069b7021+AZVlGzv5zJeMH4tzRiaChhMwwS7KJfKUm6SiTWjcQp5k',
        'qfl/demo/audit+a6a66af6+BouDZgWJo9yE8bxWzCdCxnbmUPIjSvQQxL0CCobmC8NzshaVoO21EbWqlt61y6t3P+DpiRs1H7pJ+xdS9/tso+zIs+6rkYXbKcMn9iBNTqVrY5SGsgXbHinuJBPeIOky3YgGxfURN6XXPMEMRf1/A3RzPahiOZnCz2tsaw319oraAmovdRZnfcrEwmstKGwLwbBwmThAhUmXYObwUaYotK+Lr225Anp8y1SmVzgq59ruvqb/9iQDlQTheaA3ioxVaBIOqfu9436EtQCZnxl/XdlDBWdMbNyLKXyziOLvwtkz7NtVifuOHQWaKvfdHcgg+ZfVC+7kNoFabwSDptqw4fC2O9kE8zOyt4Qw/klcrlJN86JzkY4EzTYrEgM0ZeP+Sxf+1cskFOfD2F88jZgj5yu8h/FZ0tBheqj5uiSZ59518AAFXk9Pm/zgMqYgF2iyV2p2c5HvWdRlxbU52S/ny7WABiOkJ2PO19wk5XKHRXxzRXa/3i21sDFM5Kp/uwsB0cp2SlZMridurvV4W1EmjfsmNZgAjiKZAl6YXuPl/QxwN/4a+Fmyp4IyeS35/7aFl/rJDKps0iO6vuVDj9t+Uw5HfNlh9+p/IXvTI4LXaRxtnBxFDso8EHaLhIYOXjLGqQzdLyYTkIjg1khwuO0rtllTWvTkLNDTQjiXkM+CIjBYfNVGs0cNnVV+DvuvEllITRbinhfL5/VIYujrTv5BHpVRjssEJFv4MEAaHYUYYBc0+2fm1MRKvVMjaYnHk42r1VEq38KjHpDftbbX3nS0SLcyqOVq2xVbq00DEsNLc0NF4Q7hRoph7NVahsZDse6C0xw5zDk/calUfzq2/M/PaM5T9mA56RibeB5G4jsOTTkpoBILXnOEcICrI/gNl+oYciMwualuCWgHroGsbX1uCE2I1I+vILhZopmubzOFVSznlzZamWW0tTpVLS/+6SDQAf6KPp2BUSZqYMWahI1a2z2/Fmj/djeVy2ovxLw3GtwzV6dHkrfdfPuM/u1jeJmI5uxRLJGQ/X8T33cMrdfYNsKnC5vQecNo7rlevbAPoNybmAiHpXSw1nEuL9tSfKBkp1vGCXa0rx0a/oRz5larXLPN/l0/TpOnkhX6z5CN6R6EfKysQqTUTmjxDTsOvm9JouhW0r/XIdiLF5cyEKc0psbRItrqVBWsStMp0YpMbCu6ShtkxKoBetbubwfGqrsOHK2Uc0/Te98Mvq4BSpFLieMCvVNYr3Joq8aGWN0WDwxVptHgjUE7hvmgK6XNqwjrqWJUDGfMC/Ovy1oava1z0bNrwEt4qEr5/2lkIby/GXSsoUpHYQqwt0+owkSPYM4nq9dnduYcvRIEvMUNm45DFXx3hVz1b1WQBDAhhu1UGC0Y6ccjKCtFdGMIPOMRLtuUXKxXeCfCIWUXWILNHKWRMwzAC6cD4mSuxndogYtJliLup+BZAe6qb/I2LU6JCXABMGWbtlnUjK5F2UiykDPZb/dqtQlClRSdQfcwA/qkCwqSNgWbTznG0hpMe96azcJtSI1S32CstYKi9UifDFVonzv1Zcdhvoce/wP+oNP4XVfMgVhpmZSEeudvqJjFrSmp47ao2iQ+V69TNt8w7UV+Nk8wTQsmaFNs61Sfn0M31BPNzgmd6F+pNB3d7rilQBBMaSwOZAf78Nz99lTcFmnT0qSjIUj5i8dxQzWsa5bGdsOHhY9aT9hvcFyc0ARCtKa/OuS9B2PlqSsJd6qawkWT3WY=',
      ],
      leaf: 'eyJyZWNvcmQiOnsidiI6MSwic2l0ZSI6ImNvb3JkaW5hdG9yIiwic2VxdWVuY2UiOjAsInByZXZpb3VzIjpudWxsLCJhdE1zIjoxNzk1NzQyMzM0NzYwLCJraW5kIjoiZW5yb2wiLCJlZDI1NTE5IjoiaDRWSlVtYlFpREY3ZVZ3dlFBNUFLejE4dmZMZzh5WDVML1VOZTRvVm10RT0iLCJtbGRzYTY1IjoiU1lseEVLOHM5V0xNVjBZdzRTVXVodDFsSlhSb0Jub2dZdnlzUmI2Y1VnR0lQVS9hS1JDcDNPQzBjWmFBNDVITUM3SGFlaUFHMDdjSDBobDY3ZVFGd3lDcTVVTitwcUtJeVdpcG5LOVZ6ZVNJSmlGVHBEMEdEN1U2NDVMZUd1a1U1bGx6YjVHcGt2QzNzeFhXVGIvQjBZRFY1ZkF0Z1hPTHNuNS9CU1VZWjNnMGdMTS81UTF3K2lUcFA5T2N1UkNkY1Ywb1pYUWY4QnZpNmk5akZ4Y0dsSzRoTXFPdUhVMWNIUTZNUmZxeStvNi9xUE1aODRBa2pwcVZTaFFGUytXaG5GNUd6R2ZYUFNHa0NsRVBRV1ZsbTFuZVdISlBxOWdCbnFNN2tkaWtzbjMybURqaU5kV1BBTENIak02RGpFa0xiZXp6djdWKzR2NWlFbjNzVlJSR1NrUTJNZGFkWW1PVVFoeHgxUm5sU1hCMGZSN055OXI3d0hIUFdjU1Jjeld3UTY1T0NxNzVlU0pYTWNKbnpYeW5VOERrTVhEMnBGVVJVeDIrcG5ZR1FVUzdtbllMaGtycVVpZzJFbVE4MXlHRWwyRkd5dnRTaEJLbWpPbGY2cGlJUVVHNys5TmNqb1N6Wm4yR1l6RnAybGhkZ0F5Vkp3czY1VXk2RTdPYWd5YXVwUWJxMC9rUUoxUU1FRHJYUk80NmN6QzNjcTYxTld5T2lHWGpGaHdDSFBDRkZPc2d1ZjZoQjlFSnViSkZLZ1ZtUGdCSjQyMlhSTEw0R3B6WkJmeGlmZmx3MXlwTytHbk9CbVk0QmRXVnJLdjRRb1VrVnlwTjA4aWkvcFBrMVpSYnhJK0xPRmE3bUg2UHAvUmtCVlI5RFNQSHdRbC9pZUVqSUdKY2pkNS81RE83Zk81b3kxTmZLREtiK3V0SERQdXlGRmROSEZ1WlpMS28vSEtTcU9GWXFFR1lwNms1K2Y5cXcvL3AxVjliVTRGYUNXbktKSktCajJ0Tkt4Qm9DNVZ6d2xNcTV3U0d1bktFRytvRGs1U2cySnFra1FrcXRSNk9CZ3dFMTZ0ZkhjeFdmUm9ISDhQUXViK2lPNERQbzNkSTlBWEFDT2pYeGM4WnloSU9PSEtTb1QzQ0Q1N3M5dmtqQ3JjZ0RXOHJJdkk2N2I4cng1UTB4dkowbStWZXJhaHNCS0N6bVR5QmhEbVBJQXNnNjNoUG12MWd0SXA5RlY1YXNsY2ZDM1JvVGpieTcraTU2Nzd0Wm1WalpHUlc3OWF0V3lPeXR4ZWRrcmRwY251bm9NSXN0TTNWaDJ1THNXK3Voc25wYVNoQldVaDc2aXo3NS9lTTYwdXo4VU5hc1hrdi9ScjNyc293VDRha0FLTEpyUHJHMUwreVBYR1piK29BcEhvNnRJSlkyVkxzZ0Vqd2Q4TjNXbE9HcUZ3bEZyRTJJYTRjcXA3ekQwdy9rZC9GamFBUGZNQUlDOEhOWEhkaVQvQ3FsOWV4SGI2R1ZQUnl2RzVHVytJMDZqTlg4bURKcXp4NmVycDlHSHMzS3E2UElmR1drVEhxNFc1d3o1a3hibkk0eUJydzJHNUFWcU1JUklWSHRFdjdxVmY2ZHVBOHFqZ1hRaDZhTTJpN0x4bzhmV1gwQ0hDcDNFVjM4VXlZaGJSdUJuZXNPbUNaSnlBK29mYjFhSE9xNHIwNXFJS0RrMzNQTm8vY3ZneHE5WGdvdFY3YjE5YWVJMjJ4UmI0cGZCRGp6SXFKVGplREZnK3NpSkVyYWo2NllMZlM4dDJ3RHVyelJROVhoQm5LbmFiWXVSZXpxeU9md09obFJxbXZpcnk3U2xteGFjSFlaYVFjdGxzWXhtSVpUTU8zeUsrRU43dmRPTllqenlFdDNCQjI2YUtjNGtRV2V3ZDIxK3VUSEdsYkNYaUtYNDlYdHBTY2tnMW1LNFJBQVNsejBjamszaUtnZk1EK3NtSTdxZXdJK0VXUFo2aUJ4WE1jYVl6NERzYTU0WjJMdlJybVVVMVJqQWxIcVhmSEgrbExSbjE0VWVBRVlVY2xnWHZWT1REZ1U4eGpkZUlDNnRNMDhPY25HT3IyRXlUTEttWEd4SEZPdDJMa1Vld2UwVUhYcWlkdlArRWhFcDhPN0FzZVpvaUdXSC9jay9sTXNmZ0ZhUXU2KzA5L3ZtYi93enJ6a3U2TUN1VlJNR1hPS0V1MjFaTk4rUGRLR0RmQTBMSllSSW9RQmxGRUswRkFwWm13YkdiYUYxdlhLeWduMHoydDdYaWhQT3RseWkrUys4TTlXbjdQSXB0TzNqcFdLNTljaGIvbzR5TVJTbE43ZW80eHR0THJ6SFNERCtwRjBUTlIyczd0TGh3Tm5TZUdqRVRJMWFpUkhzOFprUE1GeDBlYVFmTFNoRlpiTXBsUFdvYjFFeC9wOFBPcG04N0NlT3lscGR6dDJPWnVGdmtDYm8yZlRUN28zQ2ZZY0R3VUhYUCs3YVV0Ukl1V1dUV09lL2RPajFvNlA0VHd5U2JSZ2EySkIyS3I0WGNmWnpnMm5vbDEzM3JzR2lqbE9LcHNVcDR5QWxPeUJ6SHVkM1JsVkFoMG5jLzNWSjdNNHBNa1JhUnFNWHJMbmxNL3JzZDFBeUFLd1kyanQrQ2ljR1FNa25aa20wdVQ3SHdncExSZWxmQ0RNajFub0ExT3RnVDR6NHNSWFZUZWpwV0EvOUJCQ0Q2N24vQ3M0WWlJa1hZNHRpMTRxRUdibVo3WXZ5V0FaVHcyanFQYVRnS2ZvNU8yK005bFlnYWt2bE03UXFZQjVScldHRkY2ckkyMkdzZ0lQWEZ4NE9ocnBqL3BqQXgrZm1ISFA0Zk1vSmJYUGp3T05ZcUNlQ2twU2ozT3FSWnJ4dVdEQlFuZUgwRlpHUXY3WjdWTll6dFNzNVE4bHNUSWhmYStLdFY4eXlFVUdzOWxEQlNTWUxmUkNBLzh1cHcxQmRmeUUrSHlOYnVpUDZFWVJ3amZ0TUE3NExOSXhPN1pxODJGSEdxaFRHdDRNSThHUVp2UWVuNnZjS0w1MXRzVXkyR2NFd0xmNFI4dHBxeDF6YTk2eGI3R2JxbDF1NlczUlU4ZUJVbXVIaHBaNnNxc3lkRHB3WHdPaXZHQ0d5Zkg3cjFENkd1a0xsU0cxYkdRSEl6SHBZdVhHSmd2WDNjQTdWTFd5UDFHSGJ5MCs1NDJFS2dmL1pkcFNFSEsrUDROS3NRbVIvRDBQMCtpN0VYYkphMUZxY0NrdHhsaEl5R3E4UUJoOVVaOE9ISWJCcXM3cXNXeXN0ZUE1eG5RUGFiRDVveVhPMUhHRktNZk9qcTRyMncxL2dmSEIwNGZmUWRKcDdnR1I0M3lPRkJaMEU3NVU5ckJwRUhKSFY3Vkp1ZG9RT1N5QWx6VGFZY3JBc1FrNWVhVkxwM1gxdTQ2Z0EySDFvNkxzOWg2UnVEK0k2NHlsUjQ9Iiwia2VtIjp7ImVwb2NoIjowLCJrZXkiOiJoTlViWXhRbCs3UWdFTEtnVEhsSkY2ZFBIUmxReHl5SnN4akk3WWlhUGFZU0U3aVAyb2h6Qlh0NTJXeUFleUxKaUlqQlRDUVp0NVlvbGZ2QjR2VEJXdG9rL2l3SmFseTFuS3dZTzFTRVVDWStQWHpIdkFGR2VLcUV1ZVhHYnFpeEdFQXJzV3NkUGtjbTIwYXRBdnBQYUNtMjNLaE9GbnVGQ0pVR0prVlZIclYwaE9Zc3dRd1JIT2w5L0FrZFI4QUd5Q2dISm5scjlHcWVEdXNzMWdrWkdwbTd2NGw4cjh4L0hLVVVpYnVwWjNJUVpUWVZDMFprc1FReWRSVEhqSVpoc1dmQTJzUmdFT1laY05NNFYrdXpaZnpLaUdwNXV5WEpXZnlOekV5V1AzY01FVmFsTHF2RXFCTVY4S0E3amxPMTVMTXFzaXk2T094Ymk1a0dmdU9SdFZjNlhDbUVicWVDQ1R0WTZuaVIyV3hPK3JJbEkxeUNqRXNKNTdxbitFQ0xXUE1xekF4aXdKb2EyUGtRNmJoM3c1RkdzNVVtdVN6TG9ncFk2YkFmMG9tYytZeFRaL1d0SnFVdHJZSXBUZkNZb3JCUnhsS2RSYlFMVlJWUkJjUEtaVndxY2pRajJHaFJ4MlZKTUZrOTdjUzdvVGxNODNhODdjeXdSblRFeVJkYm5mVysrV2hsMmNJMGhxdDZnUW16b1VGSUI0dVpqeHB0ZGljUktDT05WN0NtbWt6RUJYQndpaUZ1bTlGV3hsbXkxNUVGcmhRb1VvYWNxbEIra1RUSVArS1E1ZFlNTnZPWUpzV3Z3T2JNZ0VGUUpoaVNvcVZrWkpyT2M4VEd2amNBZGtsZ1JOR1lRb2EwNjRjaG5ia2lhMkkzOW1vVlR0ZEh0YUlvMGxDWXUrVUNnaG9obU9KNmYrTE5uakY4TXh0OElKZW5oVWNiUTdZRzRQV0U0RG1leFFaZXQrTEN0aVFZNVlLSmV4alBtZ2F5U0VtMHZtc013Mk1pdzNsM1ZEeCtlS2NwcWxBa2xMU3JYUkZOdXdLZ2NnbEFpN09LeXltSWUzWldaYVVFcjhGTHp0aHNLY052My9OVnB4QUQzZWQ5bFFHWkxuTE1DWHVENTVERnVJbXF0eFRKUWJhYWhDaVZLcHBxWVdjRm8rVlVNbUN1OTVzMllBUTQwN1hNUDNsK1pUSUFDUEc3Z05peWowdWM0WnZQTjNGSXdoSXlEMUllWS94d2J1TUdTV3VrTFVrcG1iTTlhaWJBY0pyS1hzR3NGOWtFTlpLSVFNcVBwb2g3VXhVK2pybERESG5FWGlpUmRxc3Z0a2R3aHZPdXJqYTJ5T0VXTGlTMmI4b0hGM3RUSk14ZGIvd2NaMnpKWlhhTGdxV2lZY0IxVktOMDU0dXA0eHFvejhhOHZ4ZGNKdll4V3pla3BxbWl2ZVJQTXNPY2tOa3RaWUlWRnFBT0dVZE9zTGhXZUdnYndTZVN4M2c2T2NwUTZCckJPU1ZzL3dtd0hCUW0zOW9ZWFZjRXJzc0M4ZkY0Z0RnYytJdTkrdGtYRE50ZHZ0RTI3WEtVNlZCY2paekFpY01pVitBR1lac0xVbmcwYU9RWDVNRk9UVm9KdUhGaWZWRkhmYmhVTTNaSFFHeVptUkJueHhvYmlyVlY1Q2xCQjhTbFVSV24waWFWMldVVHhLS1gxc2hVWnBPaWtVeFUvaERCS0pZVmhTeVhxSmhFOUxqTUE2c2N0K2lZQzZDK0xNckE1aUVGLzJrcjc0Y1N2VVdaZTlDNUpvdFJsK3lVK1dwY2VtY0NsUUVrNXZSSXZsZTkzVFpwZlhYSUNtRWJCYWw5UjVZaW1sQlJSOGVYZzVnckJnRjFpdVNTZTVHdVBWb2paVGFVL3VDV3hGWk4rWGlQS2VlbDJBQm9OMFVCcHJTcVF6ZEQzZUUzMldXM1NHVkViTWRubDdnUTdFVUlRcGVxQUx6UFdUQ3dZMHpBUVZZYWFDYzJodW8rREtBRzd4RWt6cEVtN0dBb2dwaUhQQ0k3RWdYUTFyUkZsUlNGcmtvZk5VTmtKdmNUcnB1REQwS096bXI0V1ZJRTNsNjBXa0NUdnVjSTNaY2ZtOVNrTUJaQzM2Y2diUjNZL3RYT2RmLy8rbVptc1ZjU0FwMUZHdz09IiwiZnJvbU1zIjoxNzk1NzQyMzM0NzYwLCJ0b01zIjoxODA0MTIzMTM0NzYwfSwid2l0bmVzcyI6eyJlZDI1NTE5Ijoia1JVUWNwRm9GcUY1UkRxSzJaYWdqdTBRQXdpTzJwenlOL3pubjhDa0Fvdz0iLCJtbGRzYTQ0IjoiN2JodjVDRHZVekJoaEUwOUZKdzFtUUxObFR3WEQ0WkJiZXhPc0dtY0s2YU1TRVVaQStyYjRHMFFmaEhDWGRHUGdNa1d5T0ZhcmwrazJzOVVUN0xIaUdYVW5mMVpVaDUwNERhZU1tYzNsVE5CMTd5ZXF0REtQZU9nUEFiZm9RQVEreDNVS2l0MEowbzVxaWJ3dnFLalNxK2p0ZlNDL1N2YkdqellaQXF6Q3BEZ0ExYUFYMVd3ZmlodGs5eG5pQWZrWjZob2Zsb01HVTNsUy9VRVJjbXc3Z2dDeWxPOThpMENWOGFNalBDYmlUb0ExN0pGbnkvRVFjRkZWSlowdjYrYkhvUDlvSkkrS1BpckNVKy9TZFNiZjdJZVBCdEF3TlpKUzQ0QUhPMXZmWHZaTTgzbDRaM28zbzdzVVNOa1RRZW90NS9DeTJJTzJMRXlyVURweEJUZ2dsdURxNjVwMnhUd1R0OHhxVEU0QzdMQXJkSzlzSVNuZkFweXhucVVRaGNKSmI0a1EvbDVkMS85a3BqbWFqdS9PVi81blE3TFBzY1VqSkpjV1lCZUFIZ3hwODlHbndmWTQ3THJEeUtTdDlnYk5VWVdzdW5lQ0hhOWpoM0NkdzRSRnphM2dTSkxtWDJ5N2JtNEVma0UzSHc3VGVDUXpsTlBSSXBVcHdxbzJHa25kdy84NEdoUkFBUnZrczVnWGVYaWRWUzlBSTlZZ1kxaW40VitBVlZBVFNVNi9LV0ZyKzZHMWN6cGg0b0dSYklYa09yWkRKbzlxYW9ZekZsRVB5NnVweE1WS1libmdQY1l0OHdlMTZaUFYvSE43bFRQa0poZGhJL05sSHBtRUxrMStXaVR1R3g4NVZFMWRwcFFhc3BqMUJOSE0wTXRFbGtUejFEMzd0ZEozUFkyb0NCVmY3SjlIdTZEMzJoL0pUcmVwd2sxU0NJSnZaRGxmWE1PMzVTbXdXazU4a1BYMmVhS0kvenJzMUw4S3JvR3QwMlREU1o5Z0ZYcVlUYjJqUTVvc0tIeWlZMWMrcWUvYXJMUFJ2YzMrcmNVZWtHbFZpUGo4K0J1YU1LUjV6WUlTZ2o5eFEvRG9jaUdyYnJwc0xmcWVNZ0Z0QzlnZjA4bWZ6UEZwR3ovNG1WM3BXUHI5KzBNeVlmOTNnelU4dkRuZlMveWxrV2ZVVmFHYjhyU09aSU1OTStaTmFxdGJqcTNLUVdkTzNEUnRzSkNpWG52UWwrYzBtWmZGNml5a0ZHQysxM2toWXFmOXBMczdsM0RqNUtlSFk0eFAyN245a3lKOHNLUjVEWTMrMTlqdm5EMy84akxvMlZtQkpmZVoxZXVvaG5WSlltSTJFSVlLUVdNUHRhMFNuNklPazd1anloS1ovNzlVa1EzTytJajRweWFRc216YkpHcWlKTFVUSjRQenZtdWRGREFpakRxNVdaMXJuSG13c1M4NW1iclBzNG9zUXRXeFZlR3cvdWc1d2MySEh1WG9jNk1BWm1pMWc0c1NRWUJYTnVLcDMzWjBtblMzV2l3NG1uZE9aeHIxc2xXZE5ENjdyS24wc0hOU251SEd4cktld3UxM0t1UXBFSG1UWUFJUHZIeGFPdzh6Z1VSczZCV2VLYVd4Z05WQU5mN25uNFduZHM5S1RVWTdRajFPcVlrY2VNZGI3NnNOQ0x5aDJzNXMxcEFnZnZLSVp2NEVDaGlCaFpyVWNaYS8rUnJhRElHRW9FSzdyZlJhYllnT2gvaEJxa25NK2V5TG9GMjdOYWFicXdGbjlxYmNDeEFQTXQ3OXhFcXM5czJpQ1I0NkNscTBxMXM2OUdhZkM3QlVDZFJsNy91VHhRQmU5YmcveitRZElqQkxXUHJmbDFNUVZra2tsVk1CQzRtU1RDdVhOMS9DdTMxcE1TU0wxVWNmVUNqdVVjUFRWa05OajRyVVcrOFo3b3pmOENqOG5LSFFRWEY0SS9uRmx4Vi8rTjg1ZGJwWmtsVFJZdFpPWDlscVVLcHloVkQ2dk1ZZEpwSnhnaEtJeFZTWUlYRXVwTjNPdHJjUlVRZXhYdXQwTVhWY0ZsMU44Z2hPT25zRnJkSXRYdzI0OVd3K2lqaEhKQWFWZnRSOGFLaXQ3azBGckJxc0JlMkJmeERWY3JWSFN6V2o3TUViV2pFbnRYTm41SHh5K2NXdVJqdkVPMnNTdkdoa0J5MGtXL25EaU90R1Brbm9iS0xaWGxHWkducXA5bUFQamNISFF1dHM2cTkvNEJmZ0hwYm1POUhQb0JLVXZYbXMraDB5WDV4eEYwOTlpTDd6QlhzV3oybVQ0QmFNVVdnRWV0RGEwdFIzQT09In0sImxvZyI6eyJlZDI1NTE5IjoicTJEU3lUcG5TNjZRaHlLTmtYcHFWenc1Zm9lSG9JMjBEWW5nOVcrTWVkcz0iLCJtbGRzYTQ0IjoidnhCVmxqRm9NS0E4UzhDQUlVUkw2dEZ1eGZHaXdPZkN0SFp5emVDc0xaUk8rWVFRRGpFenh5NXdkeGthcnVNZThuWGo0VmhsNHFwM2RkamMxai9iZUNGRitHVnZGRURZRi9uYkUyU1dSUjRKUysxeDhuK0cxS1pXaGpkNVh0U29nOGZyVGhYU1N2dVc2OEtwZkRTd0JwamUvUm9QNFdIWGZndEpTUnNXMWdNWXhrczFKUG5NL0hOS1I5U3V0d3pneS93SlY2OHVSdU1WS25yL0tIdktLM1BoUWdNRzhSMTBJOEVEbG1SL0FZSW5xMzdrUzFTeUdkS09CVmswNC8zSWd5YVMrMmNnejVCZ3hhbUJWUWNlVllHdU5ML0dIRi9uOThORXpjeVFpaUF5bVkrQnVqdkdQRWVPR0hObk1ZVzFsTVM4a0lOeVJZRktiWm9raXIxaU5zdGlpS3IxTVM0dDZRd1J4SHplOWxLTXNVdlNxeE1yL2xoN29Zcy9ENlIxeHR3eUVIVmlBM3RtUnpwUEd6QkVlVW1Eb2NPanhRZStWSlY1ZklkK2czaXFYYUtXd3I3OE83R3lEaEc0bE0wVVFRL3g0SjA5eStFUDJpR0NmekRSaTdkVDlRdlA2QXNzcThPZWNYbXpINjh5eGtLSmcvWUF5V1FEODMxMEEwT3UvVHVrWnZRNXZvWEpOSjNaNUVJZFhGRTlQTTNPc25MQXZSdnBGWDlGZnJvQisrb2V5WlVGdGZRcGxYb0t3MFkxdWhhRE0yVnNUbjJGNVlMUWorRzdMbzIrV29Gc1NJYVR1UXYvd25leXlKQzJhaCtaVWNuZUFaV0lPZXdvTnRTME9YS3hSL2JDWlpHT2NQNmUzcFlCTDduSWREYkFYS0cyMWFJeWt1YzJMVElHSkFvTkFXbXNYZDdYSnJ0Sk51Um5uWVR6dkdkeWlsYXVSNm9tVzdySks5K08weXd3WnEvUkZjOXoya0prZ29PZHFDTnFWbVZQNklaRTlNcWpHK0w4dmFLTTQzVjZiaU02N01hYmg3dGZJM294ZzhZdVZ1UXZwcXpRRElPRWVEYWxYbHdUcHFxUHBnbERPM3FYTUh0ZDNMMEtlZlNEN1JtN3FlSVBaTkJnRnYvSEdPWUJrWW9nNkdERGZxRGMzZityUFZsL2FNNjlReHA1ZXV1RWRTc05tMVc1cU43OGh2REpoRlJGZmRGYWVZSXlpd3FTL1JnMC9zcFkwMlFwbGhkUVh4dDdLRi9SZ1V0UWlFMkxGWk5Qdy8zRWZnVmQ4b2dTU2U3cDRxZzRyMUxSVno2ZElvTzBPbGFwYlFUZFB2d3NXcWxHaG1ybTJWWmtWTUM1U0ZGTjBDMFpzcCtPSFlVdFFSSCtncjVsVnpPVllrdVhJYTdrY1FwN1JEME9wNk43V29ybWtic29jb1BCQUFUWG5QZUl0S3dLWkpvamZ6RzQzTnhjTEREcm5HS0k4SGg1NEtPdHpMTWtmOElkRzJVUUlwRXA3UWd1OUM0UVJPOXdMOGk2TlYyL0FQMm9tN2lPT3IxeHBQWU1XaUU5NGtBUHBPVVdORThncjQwN0JjUWRvdFdpeFR3ZnQwdzBVdkJSbjJwdXJjV3VOM3BaTHNCK0NJTG1pTkM4MDdmV09ZR0VXSEdVNmwxbng4OWQ3ZWwzSGdhYnlrM2FoTUtjMnRBelZhT1ZGTGV5V2NXZWVlZlZ3Smx5MExNVWNMQ0hGTS9kWDZzVXhWWnpRUSs5VDM3eHFsOXZENzROM085RU8vRW5obHVINm1iZGlIUXh2TXFpRmJPRmhmSEtybU5GS3paRVlYMDgweklkUUwrRk5XRzhtemk1dE1qaE40V05GREFURnRBanljZHFJV1AxYzFGcE94dWZSRlJwL1djbkE4aUpiV0lYSUloTTM3U2xmVitMVmoyQVdTRjM0b2FpYWpsb0xOYUM3dzJnby9GSmdnK2VKMnZnbnh3REVWTkRVdFlrZE1JUEJ5UmxLbHBIa0cxYWdrNGsvNjFML293akJqUjlnN2hVUzFiRTJrM2cvcnpNU25xOTEzOWhjTEtQeWw1OU9KRXpERUdEZlMzVEpIS3VUTnFQZGJKaXRMVmhZaGlIOVdoN2FQUW41bjQ3ZXh5MkhKZ3dIUDBJSDVhQmN0MEFtZFV5T3Vxb1kzTndGUllHSTd4bTVRN25YRXFzd0tZcTNrM0ZmdUoyRHl2a0N0a25BTWZpTkFkR2M4RmI2TS9GOGJNejIvaWNPdWg0ZERrK3FRdTRGTzVhc3ZvaWdlT0NBSzg1V0tucFMzR1ByYXBGWjkrUlRCU0ZQdz09In19LCJzaWduYXR1cmUiOnsiZWQyNTUxOSI6IkVlM3hMUFRqYW15K2F6Mko3d2FCUDVNbjhreTRrb1lyMjZKS0p5VmZmMHdlY0hSOUdXQzA1bU5nNHlXdXNFVEVrZFRLOXdVUnhUSE5ZVnZ4RWozMEF3PT0iLCJtbGRzYTY1IjoiRHRuM0l6c1lIL3huS3gxRTI0YmhCMmF1TkJnVkJGTHdMRXNsVE05L3VmeS9jQktEN1J2OUZKYkpxMmRYNVRTV3l0SjFxMGxvTWtSKzd2U0tvdFdiRkpRclJDMk1GU2dEbUxUcXZmRVNwZkprTjNSTUdzQWM5VEZwb0tjK2ZhZHErRjNEekVDSk1QbUZJd0VoVW9LRzVGamRnbTNNbzZWbUFpZEVieGQrdUFJLzViSmczRFpzUkcxZEF1TTZodWo0cWFrQitMeFZzMnNDakd0U056U0c3Und0RVh3MjQrRUVQRHRBTjJ5U0RNOHVYcVdWdjB6MEdtL0o1YVFqbWVPRHZhemZiY3F6ajVyRDhSNCtOc0QvZU9xYjNRaFNnd20xUDUrNFlsMTlPaXlrbWI2VW1EM3Jkc0E2QlUwM1NqdkFKUlhIenVLQ29FMFh5a25tOGMvU3JQQ1VQL0YxWmtBa1FZdHZqdlNMUVpYUzhkYlVST2laandBUUcyeUNhRnBwdXZCczUzL1RwMDdNcXhVYm1XRjZ5TVFGaEhoN3ovM0FQRXFGNlQ0dkRBMStSenhaZnVZYmRwbUswWlVBWUJ2cjhkaC9MSWNHMzFURlBlaVdtclRqVGV6RUU4amxyaGJadHV2aUl0SDFwUjVPaXphQ1p2clRsYzBzRmx1cXhXOUR5eFNnSGV2UWx5aml1TXRrQXNFRnZybkRwaGF3clhCTnVQNFZldGRJckpDVkNmdUZVQnhReUlmOWN0ZUJJMENlbXg3RmRsTEFSUGJ4azJ4bzJJc2htYTJQZ1Zid0FsT0s0aEIvelpFMEFWUnl0MjNqMldROVVRQWVXVnNjUE53QVhDQkZicFBya0FhVDhBSml2OUFORElzRUpEN2NVWnR0aGVPZk12dFdvWUpOdkFubGJWcE45ZGlHODEzWTJKVzNEYzAvNjdZOTFWNTY2WHhkWVN4TDc3c3laOVhHNDIvSDRqN0w1WjUxU1dvT01oZ2txT29CaU9hOVlSQ2UwWkNKMzkzV0hCZElHMFdQeTgxZGxocjdRdFFWWk5KMHA5S2pCeDRhM3prSlpVY1BuclBsc2Nlc1VzdHVGUnBMVHdteldlVGNjMWNFMlhDZGFKeEVxQ2dpWGFCTVh5SDh0VG5KRHBpWkN6dGRkenpTbkZxcmNhenJZS1QxSVdjVEtubmowdVQ4cWg3ODJqSnJoQ09zR2hseUJqQmxHTnRyN0F0TmVrRzNhSlFVeVl2NEZ3TmtSamFYOVROS0ROUWJNQm11d3pBQURtZlVMYk9tSGM0Wm5Yc25zckx4dnlJdnNSTjBGSkZadlhHMnBadFIzbUx0U0hBamZXc3VrMWZmSFZMQnd1c1ZlcCtLSWFvQm80UjBlYW5IYm4yWGdZamRKMUVGOWlvU2ZjOTI0R3JUOThGNEZuMTN0UkZmR2dtRjNLSC9aOGRqY1hTd3NsRllsY1Z4N3NTN29TYnlad2tZSWVSVU5mV1k1ZFpoaFJqS1E5MUFnN2RIT0ZhWm9pdzhpMTFyaHFISWV5cTRnRUtXcGcxTW15RUtqNEJiMHU5dVNLOEtua0ZYV2s0RkNQNFlqbFBzS0tKWGtzRjNtRzFNNmhMaHpIYkU4a0tGUUM3MWJhV3o1S2xkbitwOWZwV3BNdlVPZzJJeDNqYmhkVmVob0tiNFJWaUN4RlZIaE41aDQ3NnhXYmxCZHlSdkJ3WWJkbDFDUmVxdWtrMXVzc29Ba0JreUdXYlhVdE1WNjlVM1RDaFNoUnk4eFNESGdodEF2WjNtYjlvdWJWSnI5ZW9mRVEzQ1lsaVJTRUlQOG4rWkNZNnRYMERpQ3BhTDlVb0t6d09TOG1PeEY5WTdIWFAzUnByV0Q1UXE5TXA2OEdMVXorV0c5MXZBbS9JRkRvZWJMM0haQW1CZUVyMFo4MWUxMzIzL1ZPQzJCSmN3YlRqY3hVWFZNSGJFNFJLVVM2TU9tOUs4RlBoVXorZTlMK2FwMjBwV0NLOG54WVlBYmFQUWx4TXJoUGRjS0pRNXppeTJ4UnhQSXNaSlVYMjZIOGpYLzdISVo4eWwvT0JqSWlxV21td3V3bGpJQWJPYWdYTUJzQzNZQ29uSkVSRUpYWThFOVdxLy9lcXN2K1NRNDFlSGMyT0VXY2pVa1d3U2VUT0tPV3hZMlN1WDRLcFZaT0JsWUhaUVc1N3B4cVlmQVAraTVHVUtMQ3JYODVRY0FkVXFWZmpMeU5HSUFQQmxNcCtPWVRTRFIyVXJSamZLbVlqNEF2bkhTV1NEYmN1N1hTK2E4cE15aFNad2xuMU5UaUNMTVloYnNyb0xsZFdzZGtHMk14eU5RTDRaV3lRMWxyQkQwQTJGZ2VzZThocVZWZEpDRXlXZldiZGJ5K3FSNUZSblp0dkl2MTBoUXlVUHhxNElHcDdOVkszUTJ4ZTBwbW1GSEZzTkw1VXhkQVBuZEh3NkNEckx2MDl5RlBYblp2cS81QTFVek1naTBqbGNjRVpRaHZFYTdKRVlXeWFnbW1tSHBrdU9oT0g5MVY4SnREYlB3K1VBVjJPZjA4MkIvdEFRRS9ZVWFBZEpyRWllSnp6NnBNTkU5by94YUpWZFJpdWR5VGVDN1FQdUdSNXRNL2szQzBRS0pYTDVGcnZYR2t2TklESmVyVE05a0NDMll0b1pERlpiRDlYckxycTVtRkJXQ2JMSlVnSGtFV1FpYjVIK0p6aHF6N015NklWTHIwMStBVXpIRnRNaWlIbjhNUXVqSFROdDdmTVdoQ0VaL2NldU11T1hzUlhRQ1VnM3o1NzI4VXFNMUxQdmVoQTYwNzF1TG5rdThOU3l0SEE1RlpPbkg4dHFYblVZK1RvRnBGWTYwMmlYYm5vVEY0WHdUb1h2V2FqZjJwZGZpQjRrSkxlM3VUREhwZUxPTG0zU2dOQzNtb0Fod0thTWxmTU12NER4ZDg1bU5jUE9YSUlxWCs1Yi9WUmFPTktCT3lYVUV0amIxaExIZERXMTBrb0Y4QVMyNkFNdEtNTlUxVjhDR3RpRDhJYmQySHJLV28vZ1VlRTQ0WHgwTmRXRFZqM1ByVUpHZlY4aWVINDNLaVp4djZuRlhLQ1BoVUVNZmFac3d6cEtqd2w5dVVJdCtPNndKV3dDSWJKS0x4RGxwcGFqVmRVWmdveXF3b2lJcXBra3NGbWpROEZNTnpUYzcyL3AybDRaNVJleisxSCt5L2VocHFndUpTSk5rcVpkQ1F4aDJQTVVxdk9iQ0ZGWUQ4K1Y2ME4yODVKL0dsSHcrZDA0cEVseUJSQXVuZTJZdFBCU3htNUU5WnoxdEJ2NWE3YTNsTzZZTzVTQk91U3E2bzdTYXF2b2FZT3FENXBtclFLcVNoenhFU1IvdkpMdFpoc1V3dUNwK2YzTmxEVFpnRDFwSHMwenlIY3hMK0pVNmIvTnoyYys2UWFGZUdhZVNkOStOb3dIbWkvaGg3ZC9vR25KcWRweUFxbGdMcUJ3dEVXMjJsVXlScUdHMEp5QUlsNkxSakpzeks2YUI1VFBTd2k5anUyTS93ZVpzMmdKMlFBdGpMZmJVZTg0YTdRVkJ4ZDg3b1lwV211K3NjTTJTVHV4T0hhUzZNZ2RLUG9tL0R3TFVyenVLL01qN01QRUVvenNvTVcvQUFMRzVVY3E4dEJybGQveDUrVkpjQzBzMHlTWWdZV1VzcHEyT1EyampFYnRBY0FrbFZrS1E0V0F2Vm9yOWdDbWN3aVFFMWFxT1lTUXhBUjBFMTRKTmRaYTRDdWVldHNaSmtZZ3VvU1JIQ1QvNmxjU0lJZkhtbCs1eURrRllDbXU5ZEtuMkFNNFh6NGVkb3YvY21MM3kzR3VnRkhCMDk2ZENCbTRwa21JMldTdDVHam5pTEtwR1lady82N1AwWWUrOWl1Mmt1Ry9sSnR2TXRBWnBoQVBFaWp4RUdHZWxuRFd5UDBmSGNIdmFlSi9idkp6Y1VnNHo0dDlLRnNROHFiQTUxNG1PNVI5MU5aWVVsWDFBZ1ExOFJxNWx1Q2Q4dkFpT2dOMVdjeERVQUZvaVZtb3p5Y1pOVEk2cTRBb1NITm51bFhtS29ud3lQTTFwL3NKcUxtcVo0MWl5d2grelIzaGRPWDVGRnJFZytSNWg4VkMyZVd1TVhwRTZ1R2x0cjl0UEl3TEM0WGlsdEpra1dDTU12NnBGeWw2ZG83UFdCZi9jbDVvNC9tU3lTUFZCRTZ3d3YrYUJSNnR3U29NRDJEelpEYW9iRTBnSW0yRzBiY1FiVWlVVVlxSlJZT0MxNXlDd2RXM0tHZEJnYjIvVjdoUnFOQ2NsNVlXYVpLeU5nbW16ZFcxMlY1Vm1TZ3ZFTGltd2dadjFhckNPQXVUN1BRUC9kS3l4RXM2ZEc1ckc3bG51WTJFcWVKZXBjWmN2d1dGRFhoSVRGWXdZY2VaQWNuTk80YmgwYTJIVGw0Zm9wS05iYXNiV3RYUnovYUFrK0JxZ1pKWjc3MkZDWlpKUzI5SHJKeitpUkdOT1pQNFl1RUZibEkzRGdCRmxxU1FYc0duc1JaZCtWdjcwY3k5N1JReXJkN0tNVkZ5cUNQV0t1NHNVYnJLZUJJWmNWaTg0dnRneFhXbWVFdlhHRG9hYlpONFRtL0hFMU0rWXBhNmVnVGNEVUpFNWxZWkYxZjhxN21WVUhCWHM0d3p6M2xMODU5ZG9VemtNY011Q0k1ODRIcWdLeGJTalRmQ1VSQkZybkpVQ0ZzTitkRVUzNXhyYW5vTlFsUmIrUXNtUk5UM1p6OXFIaUxraXBEY0JibjF2TXIwV2FuZC9LVHFmOGlGWHR4WTlOLzhSWmpuUjZubWRPbnhCbWhWdXprNHRhZW9PU2doMWNlcDQ5djY1RU5hWlpuUHBuRXBmVzRxWkNiVzRXWU5CMnlUSUpuZEc3SFJJa3dUaEFvU1U3RGhWWTdzaDRjQThtUkQzOWoxVlBrWjgyN1czay9kKzU4MlM0amtzRkFMZGZnS2ZqQ1VLVlhYTVB0bmxtSmFaTktoSlNmZUJOYk83aUxMMVNqajRwRWg5RFZwVzdZakllNVlIbmxwenNhSGJYUDVweXlIS25tQk5xa2ZYNzI2UlgrenlKeTFBdzJVb3hSRUJUMG1wTVZsY1E3MDREdFV5djgxb3ZhQTBjclB4L1I1N0k1QVRPbnA1UmtVanlMcjMrUHNnNTJKb1Q0a0dvRkZJMlFyU0U1WXdmQ2hOM2ZQb3E4RytnY0tHMno0azErTFJ2Z0IzOTVrZVo0bmlKVm9nZHVaUVhacHdlV29ZNHUveUxqN2ZXd3h3azZScXNYZWNTTDVXWUZqU1FUUzZIUXhEcXNPM3lJaUdyeCtyUzBpd2JkRkRod2o2T0FKSjVOSFJwQVhUdDlJT1dnOWFGUjdaN0tIaXRIelJTQ3I5ZERQbk1LKzZIbTQwbzFYZTNFWlhBenFwanZEOXhpdzFHbU00WU5nTHlkb082RCtzK3ExNExJRkN2OUpHYnZQWnlpYmFmNDFYSkxiTDNBT1BRa1RvQ3dqU0xodXVSem12SkxGZVpXRHhBbDd6QTNkK1NESkEzemVzY25wSEV3emc3T3ZpbExHbkE1OGdoUWVIemFqWkpUeUtIckQrMWZrVnFIdjI3aG9sTnlKWXhGZGZqTGNDVG9ic1lCNUN3dGc0QmliMFAzTjh5cnlSaEtObnJ1QVdsVy9GQUp6OFRTWUxhRmVobHBZN2g1aUt6Nk1oR0tFMHNSWjIvdGpFa3dCVkh0ODhUSldYM1BtNkJoSFRJZWxJWCs2dy9zaExsVjJqcWFwck9qcFZiM2xBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQlFzUUZSOGkifX0=',
      signature: '3qblU7NI+3TPjlJC8nSHaAcknm/dt2kcImeuN+s4KBY8D60pC8TIqY+Vy/78iHbx8GPfxfHzk/wLhRueAwK8Bg==',
    },
  },
  'GET /v1/health': {
    response: {
      score: 1,
      verdict: 'healthy',
      metrics: [
        {
          name: 'event_loop_delay_p99_ms',
          value: 3.74617,
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
          tokenId: '69572fd188bf12e1ff65b48ab5487a79',
          site: 'st-mary',
          createdMs: 1795743228174,
          expiresMs: 1795829628174,
          autoApprove: false,
        },
      ],
    },
  },
  'GET /v1/keys': {
    response: {
      keys: [
        {
          id: '6d484f76c74439f3',
          name: 'dashboard',
          role: 'viewer',
          department: 'operations',
          dataClass: 'internal',
          createdMs: 1795743228132,
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
      plans: [
        {
          queryId: 'db9725a1328e19ffb9df83601671fab0',
          model: 'extractive-local',
          sender: 'north-hospital',
          priority: 8,
          sizeBucketBytes: 256,
          site: 'north-hospital',
          commit: 'immediate',
          strategy: 'balanced',
          solver: 'flow',
          seed: 6,
          cost: 28,
          costParts: {
            latency: 40,
            preference: -12,
            load: 0,
            money: 0,
            privacy: 0,
            coupling: 0,
            waiting: 0,
          },
          certificate: 'prices',
          tokens: 576,
          bound: 28,
          independentCost: 28,
          batch: 1,
          couplings: [],
          candidates: [
            {
              site: 'north-hospital',
              verdict: 'chosen',
              latencyCost: 40,
              preferenceCost: -12,
              moneyCost: 0,
              privacyCost: 0,
              placePrice: 0,
              predictedMeanMs: null,
              predictedQ95Ms: null,
              busySlots: 0,
              slots: 8,
              busyTokens: null,
              tokensMax: null,
              telemetryAgeMs: 1880.02,
            },
          ],
          exclusions: [],
          arrivedMs: 1795743226536,
          committedMs: 1795743226537,
          waitedMs: 1,
          planMicros: 906,
          solveMicros: 410,
          cpuMicros: 0,
        },
      ],
      kept: 4,
      keptMax: 10000,
    },
  },
  'GET /v1/plans/:queryId': {
    response: {
      queryId: 'db9725a1328e19ffb9df83601671fab0',
      model: 'extractive-local',
      sender: 'north-hospital',
      priority: 8,
      sizeBucketBytes: 256,
      site: 'north-hospital',
      commit: 'immediate',
      strategy: 'balanced',
      solver: 'flow',
      seed: 6,
      cost: 28,
      costParts: {
        latency: 40,
        preference: -12,
        load: 0,
        money: 0,
        privacy: 0,
        coupling: 0,
        waiting: 0,
      },
      certificate: 'prices',
      tokens: 576,
      bound: 28,
      independentCost: 28,
      batch: 1,
      couplings: [],
      candidates: [
        {
          site: 'north-hospital',
          verdict: 'chosen',
          latencyCost: 40,
          preferenceCost: -12,
          moneyCost: 0,
          privacyCost: 0,
          placePrice: 0,
          predictedMeanMs: null,
          predictedQ95Ms: null,
          busySlots: 0,
          slots: 8,
          busyTokens: null,
          tokensMax: null,
          telemetryAgeMs: 1880.02,
        },
      ],
      exclusions: [],
      arrivedMs: 1795743226536,
      committedMs: 1795743226537,
      waitedMs: 1,
      planMicros: 906,
      solveMicros: 410,
      cpuMicros: 0,
    },
  },
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
          id: 'a596cb2fbf974562',
          kind: 'policy.epsilon',
          summary: 'Relay up to epsilon 1.000001 per query instead of 1',
          payload: {
            microEpsilonMax: 1000001,
          },
          status: 'open',
          proposedBy: '6ce0a53415293657b99330e7172e7305',
          proposedMs: 1795743228272,
          expiresMs: 1795829628272,
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
      id: 'a596cb2fbf974562',
      kind: 'policy.epsilon',
      summary: 'Relay up to epsilon 1.000001 per query instead of 1',
      payload: {
        microEpsilonMax: 1000001,
      },
      status: 'open',
      proposedBy: '6ce0a53415293657b99330e7172e7305',
      proposedMs: 1795743228272,
      expiresMs: 1795829628272,
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
          id: '914d803c95c693cfb8ef38471e6a1f47',
          account: '237939656bf66f9c',
          username: 'alice',
          method: 'password',
          createdMs: 1795743227200,
          usedMs: 1795743227980,
          expiresMs: 1795772027200,
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
          fingerprint: 'rrdb-x546-yyrj-crx9',
          joinedMs: 1795742346946,
          approvedMs: 1795742346950,
          revokedMs: null,
          online: true,
          connectedMs: 1795743172964,
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
          budgetTenths: 9,
        },
      ],
    },
  },
  'GET /v1/tasks': {
    response: {
      tasks: [
        {
          id: '01a21aa32208935a217060ae4ffce1f1',
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
          createdMs: 1795743228423,
          queuedMs: 1795743228423,
          notBeforeMs: null,
          startedMs: 1795743228432,
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
      next: '01a21aa32208935a217060ae4ffce1f1',
    },
  },
  'GET /v1/tasks/:id': {
    response: {
      id: '01a21aa32208935a217060ae4ffce1f1',
      kind: 'quantum',
      state: 'done',
      version: 3,
      priority: 4,
      dependsOn: [],
      resources: {
        slots: 1,
        tokens: null,
        microEpsilon: null,
      },
      createdMs: 1795743228423,
      queuedMs: 1795743228423,
      notBeforeMs: null,
      startedMs: 1795743228432,
      endedMs: 1795743228458,
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
      result: {
        form: 'json',
        contentType: 'application/json',
        bytes: 203,
        cached: false,
      },
    },
  },
  'GET /v1/tasks/export': {
    response: {
      v: 1,
      federation: 'demo',
      createdMs: 1795743228532,
      page: 0,
      previousTag: '',
      last: true,
      next: null,
      tasks: [
        '{"task":{"v":1,"id":"01a21aa32208935a217060ae4ffce1f1","kind":"quantum","state":"done","version":3,"priority":4,"depends…',
      ],
      tag: '2b2408d680e2700d2aa512f48f446b6a1f83b89ff1dc60739b57cfe225d9f1fb',
    },
  },
  'GET /v1/usage': {
    response: {
      fromMs: 0,
      toMs: 1795743228226,
      sites: [
        {
          site: 'admin',
          asked: 0,
          askedFailed: 0,
          candidate: 0,
          sessions: 0,
        },
      ],
    },
  },
  'PATCH /v1/accounts/:id': {
    body: {
      role: 'nurse',
    },
    response: {
      id: '1d03068d4af0a5c3',
      username: 'carol',
      role: 'nurse',
      department: 'operations',
      dataClass: 'internal',
      status: 'active',
      secondFactor: false,
      provider: null,
      locked: false,
      createdMs: 1795743228072,
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
      id: 'b2e6967b55cf59da',
      ground: 'litigation 2026/17',
      subject: null,
      fromIndex: 0,
      placedMs: 1795743228628,
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
        id: '237939656bf66f9c',
        username: 'alice',
        role: 'admin',
        department: 'operations',
        dataClass: 'restricted',
        status: 'active',
        secondFactor: false,
        provider: null,
        locked: false,
        createdMs: 1795743227140,
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
      id: '1d03068d4af0a5c3',
      username: 'carol',
      role: 'nurse',
      department: 'operations',
      dataClass: 'internal',
      status: 'active',
      secondFactor: false,
      provider: null,
      locked: false,
      createdMs: 1795743228072,
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
      fromMs: 1795739628654,
      toMs: 1795743228654,
    },
    response: {
      report: {
        format: 'qfl-incident-report/1',
        federation: 'demo',
        createdMs: 1795743228674,
        fromMs: 1795739628654,
        toMs: 1795743228654,
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
            timeMs: 1795742336465,
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
        logSize: 77,
        logRoot: 'esd/xhSESeTaI04ky9O9XKRbE6HpanIIDcDKVklVV6Q=',
      },
      note: 'qfl-incident-report/1\nfQscWc+oWTivkB3Q+k9Mj1sEraRaOvFnRi7hhcsk6gk=\n\n— qfl/demo/export 8cBn9eOK1c3fJQkGPFIAw7m6CT+ajwKcgqv946ZLd9dHkjjJYZrzDEpQkcT0BcTXoc2czeuLN6C3Fx0O1asrIyS5zgQ=\n',
      noticeDraft: '# DRAFT: notification of a personal data breach (GDPR Art. 33)',
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
      accessExpiresMs: 1795746827000,
      refreshToken: 'qflr_914d803c95c693cfb8ef38471e6a1f47_0_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx',
      refreshExpiresMs: 1795772027200,
      session: '914d803c95c693cfb8ef38471e6a1f47',
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
      accessExpiresMs: 1795746827000,
      refreshToken: 'qflr_914d803c95c693cfb8ef38471e6a1f47_0_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx',
      refreshExpiresMs: 1795772027200,
      session: '914d803c95c693cfb8ef38471e6a1f47',
      restricted: true,
      mustChangePassword: true,
    },
  },
  'POST /v1/auth/refresh': {
    body: {
      refreshToken: 'qflr_a22e354a9769620694f2a050c2293b59_0_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx',
    },
    response: {
      tokenType: 'Bearer',
      accessToken: 'eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIuLi4ifQ.c2lnbmF0dXJl',
      accessExpiresMs: 1795746827000,
      refreshToken: 'qflr_a22e354a9769620694f2a050c2293b59_1_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx',
      refreshExpiresMs: 1795772027864,
      session: 'a22e354a9769620694f2a050c2293b59',
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
      id: '237939656bf66f9c',
      username: 'alice',
      role: 'admin',
      department: 'operations',
      dataClass: 'restricted',
      status: 'active',
      secondFactor: true,
      provider: null,
      locked: false,
      createdMs: 1795743227140,
      lastSignInMs: 1795743227203,
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
  'POST /v1/invitations': {
    body: {
      site: 'st-mary',
    },
    response: {
      site: 'st-mary',
      token: 'qfljoin1.…',
      expiresMs: 1795829628174,
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
      key: 'qfl_6d484f76c74439f3_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx',
      record: {
        id: '6d484f76c74439f3',
        name: 'dashboard',
        role: 'viewer',
        department: 'operations',
        dataClass: 'internal',
        createdMs: 1795743228132,
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
      sinceMs: 1795742346950,
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
      id: 'a596cb2fbf974562',
      kind: 'policy.epsilon',
      summary: 'Relay up to epsilon 1.000001 per query instead of 1',
      payload: {
        microEpsilonMax: 1000001,
      },
      status: 'open',
      proposedBy: '6ce0a53415293657b99330e7172e7305',
      proposedMs: 1795743228272,
      expiresMs: 1795829628272,
      decidedBy: null,
      decidedMs: null,
      signature: null,
      version: 1,
    },
  },
  'POST /v1/proposals/:id/approve': {
    response: {
      id: 'a596cb2fbf974562',
      kind: 'policy.epsilon',
      summary: 'Relay up to epsilon 1.000001 per query instead of 1',
      payload: {
        microEpsilonMax: 1000001,
      },
      status: 'done',
      proposedBy: '6ce0a53415293657b99330e7172e7305',
      proposedMs: 1795743228272,
      expiresMs: 1795829628272,
      decidedBy: '54f55398556b4e838093b6d103c34545',
      decidedMs: 1795743228293,
      signature: {
        ed25519: 'XFFhDxoWaaJkscadujnyDg2KAb6c4jHzd08CPJeVQWoVv4qruvIH0ZiMXE0KisN8cA34MrQ6dUYgAZMdqhfiDg==',
        mldsa65: '+Pci6XMNmfglZOm7WJdVWmrQm097IHB1N/bT6bFaBPiIshQ6SPByXsJbXO8ocBKO',
      },
      version: 2,
    },
  },
  'POST /v1/proposals/:id/refuse': {
    response: {
      id: '5b769bc30b2e6982',
      kind: 'policy.epsilon',
      summary: 'Relay up to epsilon 1.000002 per query instead of 1.000001',
      payload: {
        microEpsilonMax: 1000002,
      },
      status: 'refused',
      proposedBy: '6ce0a53415293657b99330e7172e7305',
      proposedMs: 1795743228367,
      expiresMs: 1795829628367,
      decidedBy: '54f55398556b4e838093b6d103c34545',
      decidedMs: 1795743228380,
      signature: null,
      version: 2,
    },
  },
  'POST /v1/sites/:site/approve': {
    body: {
      fingerprint: 'rrdb-x546-yyrj-crx9',
    },
    response: {
      site: 'hill-university',
      status: 'approved',
      fingerprint: 'rrdb-x546-yyrj-crx9',
      joinedMs: 1795742346946,
      approvedMs: 1795742346950,
      revokedMs: null,
      online: true,
      connectedMs: 1795743172964,
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
      budgetTenths: 9,
    },
  },
  'POST /v1/sites/:site/revoke': {
    body: {
      reason: 'stolen machine',
    },
    response: {
      site: 'hill-university',
      status: 'revoked',
      fingerprint: 'rrdb-x546-yyrj-crx9',
      joinedMs: 1795742346946,
      approvedMs: 1795742346950,
      revokedMs: 1795742346950,
      online: false,
      connectedMs: 1795743172964,
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
      budgetTenths: 9,
    },
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
          id: '01a21aa32208935a217060ae4ffce1f1',
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
          createdMs: 1795743228423,
          queuedMs: 1795743228423,
          notBeforeMs: null,
          startedMs: 1795743228432,
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
      id: '01a21aa32233c42fcc3f52a71e690128',
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
      createdMs: 1795743228467,
      queuedMs: 1795743228467,
      notBeforeMs: null,
      startedMs: 1795743228475,
      endedMs: 1795743228483,
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
  'POST /v1/tasks/import': {
    body: {
      v: 1,
      federation: 'demo',
      createdMs: 1795743228532,
      page: 0,
      previousTag: '',
      last: true,
      next: null,
      tasks: [
        '{"task":{"v":1,"id":"01a21aa32208935a217060ae4ffce1f1","kind":"quantum","state":"done","version":3,"priority":4,"depends…',
      ],
      tag: '2b2408d680e2700d2aa512f48f446b6a1f83b89ff1dc60739b57cfe225d9f1fb',
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
