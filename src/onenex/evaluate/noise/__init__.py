"""`onenex benchmark noise` and `scanner`: is the estimated noise right, does the degradation model foresee fast scans?"""
