import pytest
from pack_book import learnt, person, trained

from dags.packs import affordability, bank_data, credit_score, fraud, strategy

QUIET = {
    "bank_data": {"evidence": 0.0, "alerts": []},
    "affordability": {"instalment": 100.0, "alerts": []},
    "fraud": {"surprisal": 1.7, "unusual": 0.5, "mismatches": []},
}


def score(probability):
    return {"score": probability, "model_version": "risk-1", "raised_by": ["purpose 'repairs'"]}


def decide_about(entity_id):
    who = person(entity_id)
    found = credit_score.probabilities(trained().model, [who])[0]
    return strategy.decide(
        score=score(found),
        bank_data=bank_data.check(who, learnt("bank_data")),
        affordability=affordability.assess(who, learnt("affordability")),
        fraud=fraud.compare(who, learnt("fraud")),
    )


def test_three_applicants_get_three_decisions():
    decisions = [decide_about(n) for n in (7, 5, 6)]
    assert [found["decision"] for found in decisions] == ["approve", "decline", "review"]
    assert decisions[0]["reasons"][0] == "probability of default 12%: approved up to 14%"
    assert decisions[1]["reasons"][0].endswith("declined from 30% on")
    assert decisions[2]["reasons"][0].endswith("between 14% and 30% a person decides")


def test_thresholds_follow_from_the_costs():
    # At the thresholds, deciding costs on average what a person's look costs.
    assert pytest.approx(5 * strategy.APPROVE_UP_TO) == strategy.REVIEW_COST
    assert pytest.approx(1 - strategy.DECLINE_FROM) == strategy.REVIEW_COST
    assert strategy.APPROVE_UP_TO < 1 / 6 < strategy.DECLINE_FROM


@pytest.mark.parametrize(
    ("probability", "decision"),
    [(0.0, "approve"), (0.139, "approve"), (0.141, "review"), (0.29, "review"), (0.31, "decline")],
)
def test_the_score_decides_when_nothing_else_speaks(probability, decision):
    found = strategy.decide(score=score(probability), **QUIET)
    assert found["decision"] == decision
    assert found["score"] == probability
    assert found["model_version"] == "risk-1"
    assert len(found["reasons"]) >= 1


@pytest.mark.parametrize(
    ("pack", "finding", "reason"),
    [
        ("fraud", {"unusual": 0.99}, "record more unusual than 99.0% of the book"),
        ("fraud", {"mismatches": ["a with b"]}, "values that hardly ever go together"),
        ("affordability", {"alerts": ["a", "b", "c"]}, "several things weigh"),
        ("bank_data", {"alerts": ["a", "b"]}, "accounts and past credits stand out"),
    ],
)
def test_a_doubt_stops_an_approval_and_lifts_no_decline(pack, finding, reason):
    findings = {**QUIET, pack: {**QUIET[pack], **finding}}
    stopped = strategy.decide(score=score(0.05), **findings)
    assert stopped["decision"] == "review"
    assert stopped["reasons"][0].startswith(reason)
    assert strategy.decide(score=score(0.6), **findings)["decision"] == "decline"
